"""Runs side by side: what differed in data, settings, code and versions, and which metric each gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sprat.compiler.report.explain import plain

Run = Mapping[str, Any]

_AREAS: Final[Mapping[str, tuple[str, ...]]] = {
    "data": ("data_sha256", "snapshot", "splits"),
    "code": ("recipe_sha256", "files"),
    "versions": ("versions", "python"),
}
"""Which of the facts belong where; what stands nowhere is a setting."""
_RESULTS: Final = frozenset(
    {"metric", "research_metric", "yardstick", "linear_yardstick", "source_sha256", "about", "search.value"}
)
"""What came out of a build, or only describes it."""
_ABSENT: Final = "none"


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that is not the same in every run; a value for each run, in their order."""

    area: str
    what: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave for one target; an empty scheme and no metric mean that nothing passed."""

    run: str
    model: str
    metric_name: str
    research: float | None
    """None where the trained model's answers were not finite."""
    yardstick: float | None
    target: str = ""
    scheme: str = ""
    metric: float | None = None
    size: int = 0
    latency_us: float = 0.0


def differences(runs: Sequence[Run]) -> tuple[Difference, ...]:
    """Return what differs between the runs, data first, then settings, code and versions."""
    flat = [_flat(_shown(run)) for run in runs]
    keys = dict.fromkeys(key for facts in flat for key in facts)
    found = [
        Difference(_area(key), key, tuple(facts.get(key, _ABSENT) for facts in flat))
        for key in keys
        if len({facts.get(key, _ABSENT) for facts in flat}) > 1
    ]
    order = ("data", "settings", "code", "versions")
    return tuple(sorted(found, key=lambda one: (order.index(one.area), one.what)))


def outcomes(runs: Sequence[Run]) -> tuple[Outcome, ...]:
    """Return the metric of each run: one line for each target that got a bundle, or one that says none did."""
    found: list[Outcome] = []
    for run in runs:
        plain_ = Outcome(
            run["run"], run["model"], run["metric_name"], run["research_metric"], run["yardstick"]
        )  # fmt: skip
        chosen = [row for row in run["candidates"] if row["chosen"]]
        found += [
            Outcome(
                plain_.run, plain_.model, plain_.metric_name, plain_.research, plain_.yardstick, row["target"],
                row["scheme"], float(row["metric"]), int(row["size"]), float(row["latency_us"]),
            )
            for row in chosen
        ] or [plain_]  # fmt: skip
    return tuple(found)


def picture(runs: Sequence[Run]) -> str:
    """Draw the metric of each run beside its research model's and its yardstick's, as SVG text."""
    from sprat.compiler.report import charts  # noqa: PLC0415 - matplotlib only where a picture is asked for

    rows = outcomes(runs)
    names = [f"{one.run}\n{one.target} {one.scheme}".rstrip() for one in rows]
    series = {
        "chosen artifact": [_drawn(one.metric) for one in rows],
        "research model": [_drawn(one.research) for one in rows],
        "yardstick": [_drawn(one.yardstick) for one in rows],
    }
    metrics = ", ".join(dict.fromkeys(one.metric_name for one in rows))
    return charts.bars(names, series, label=metrics, title=f"{metrics} of {len(runs)} runs")


def _drawn(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _shown(run: Run) -> dict[str, Any]:
    return {"model": run["model"], "metric_name": run["metric_name"], **run.get("facts", {})}


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested facts under dotted names, each as text; an empty table leaves nothing."""
    found: dict[str, str] = {}
    for key, value in facts.items():
        if prefix + key in _RESULTS:
            continue
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = plain(value)
    return found


def _area(key: str) -> str:
    first = key.split(".", 1)[0]
    return next((area for area, names in _AREAS.items() if first in names), "settings")

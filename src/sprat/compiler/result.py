"""What a build came to: bundles, candidates with the reason why each lost, and where the report lies."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sprat.errors import GateFailed


@dataclass(frozen=True, slots=True)
class BuiltBundle:
    """One bundle on disk, for one target."""

    path: Path
    sha256: str
    target: str
    scheme: str
    size: int
    test_set: Path
    measured: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One candidate on one target, as the report and `--json` show it; an empty reason means chosen."""

    target: str
    scheme: str
    size: int
    metric: float
    drop_high: float
    agreement: float
    latency_us: float
    memory_kib: float
    runtimes: tuple[str, ...]
    chosen: bool
    on_front: bool
    reason: str
    drop: float = 0.0
    drop_low: float = 0.0
    less_is_better: bool = False
    """Of the metric: true for errors."""
    where: str = ""
    """Where latency and memory were measured."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A whole build."""

    model: str
    metric_name: str
    research_metric: float
    yardstick: float
    bundles: tuple[BuiltBundle, ...]
    candidates: tuple[CandidateRow, ...]
    warnings: tuple[str, ...] = ()
    report: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Splits, seeds, versions: what the manifests' provenance holds too."""
    study: str = ""
    """Where the trials of its search are kept, under the runs; empty where there was none."""
    stopped: str = ""
    """Why there are no candidates, as `code: sentence`; empty where there are."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Of the clock: `data`, `train`, `convert`, `trials` (measuring), and the `total` that also holds our own overhead."""

    def document(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them and runs keep them."""
        return {
            **asdict(self),
            "bundles": [
                {**asdict(bundle), "path": str(bundle.path), "test_set": str(bundle.test_set)}
                for bundle in self.bundles
            ],
            "report": str(self.report or ""),
            "research_metric": _known(self.research_metric),
            "yardstick": _known(self.yardstick),
        }

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("target", "scheme", "bytes", self.metric_name, "p50 us", ""))
        rows = "".join(
            f"<tr><td>{html.escape(row.target)}</td><td>{html.escape(row.scheme)}</td><td>{row.size}</td>"
            f"<td>{row.metric:.4f}</td><td>{row.latency_us:.1f}</td><td>{html.escape(row.reason or 'chosen')}</td></tr>"
            for row in self.candidates
        )
        return f"<table><tr>{head}</tr>{rows}</table>"


def _known(value: float) -> float | None:
    """Return None for a figure that there is not: JSON has no NaN."""
    return None if math.isnan(value) else value


class Stopped(GateFailed):
    """A gate ended the build; the result holds what was found until then, so that it can be kept and explained."""

    def __init__(self, code: str, message: str, *, result: BuildResult) -> None:
        super().__init__(code, message)
        self.result = result


class NothingFits(Stopped):
    """No candidate fits some target."""

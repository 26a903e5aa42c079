"""The report's sections of pictures: candidates, answers of float against chosen, and the insides of what collapsed."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.ingest import Ingested
from sprat.compiler.lowering import Lowering
from sprat.compiler.proof.metrics import ERROR_METRICS
from sprat.compiler.proof.trials import Trial
from sprat.compiler.report import anatomy, answer_charts, charts
from sprat.compiler.result import BuildResult
from sprat.compiler.schemes import SCHEMES
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.workers.jobs import JobFailed
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]

RESEARCH_NAME: Final = "research model (float)"
COLLAPSED: Final = frozenset(
    {GateCode.METRIC_DROP, GateCode.AGREEMENT, GateCode.RECALL_DROP, GateCode.NON_FINITE, GateCode.PARITY}
)
_MOST_COLLAPSED: Final = 2
_MOST_TENSORS: Final = 4
_ROWS: Final = 16
"""Validation rows that are run through an artifact to see its activations."""


def candidates(result: BuildResult, trials: Sequence[Trial], *, allowed: float) -> str:
    """Return the Pareto plots, one for each target, and the intervals of the drops."""
    drawn = []
    numbered = list(enumerate(result.candidates, 1))
    for target in dict.fromkeys(row.target for row in result.candidates):
        rows = [(number, row) for number, row in numbered if row.target == target]
        if any(row.latency_us > 0 for _, row in rows):
            picture = charts.pareto(rows, metric=result.metric_name, research=result.research_metric)
            drawn.append((picture, f"{target}: numbers are those of the table. Up and to the left is better."
                          if result.metric_name not in ERROR_METRICS else
                          f"{target}: numbers are those of the table. Down and to the left is better."))  # fmt: skip
    tried = [one for one in trials if one.figures]
    if tried:
        lines = [
            (
                f"{one.scheme} on {one.runtime}",
                one.verdict.drop.value,
                one.verdict.drop.low,
                one.verdict.drop.high,
                one.passed,
            )
            for one in tried
        ]
        drawn.append(
            (charts.drops(lines, metric=result.metric_name, allowed=allowed), "A gate looks at the upper end.")
        )
    return _pictures("Size, speed and what they cost", drawn)


def answers(result: BuildResult, truth: Array, research: Array, trials: Sequence[Trial], recipe: Recipe) -> str:
    """Return what the research model and each chosen candidate answered to the held-out rows."""
    if not np.all(np.isfinite(research)):
        return ""
    chosen = {row.scheme for row in result.candidates if row.chosen}
    shown = {RESEARCH_NAME: research}
    shown |= _same([one for one in trials if one.scheme in chosen and one.passed], task=recipe.task)
    match recipe.task:
        case Task.CLASSIFICATION:
            drawn = _classes(truth, shown, recipe)
        case Task.REGRESSION:
            drawn = [(answer_charts.scatter(truth, found, title=name), "") for name, found in shown.items()]
            errors = {name: (found - truth.reshape(found.shape)).ravel() for name, found in shown.items()}
            drawn.append((answer_charts.spread(errors, label="answer minus truth", title="Errors"), ""))
        case _:
            drawn = [
                (answer_charts.spread(_by_class(truth, found), label="score", title=name), "")
                for name, found in shown.items()
            ]
    versus = ", float against chosen" if len(shown) > 1 else ""
    return _pictures(f"Answers to the held-out rows{versus}", drawn)


def _classes(truth: Array, shown: Mapping[str, Array], recipe: Recipe) -> list[tuple[str, str]]:
    guesses = {name: scores.argmax(1) for name, scores in shown.items()}
    drawn = [(answer_charts.confusion(truth, guess, recipe.labels, title=name), "") for name, guess in guesses.items()]
    first = dict(list(guesses.items())[:_MOST_SERIES])
    drawn.append(
        (answer_charts.recall(truth, first, recipe.labels), "Recall: share of a class's rows that got its label.")
    )
    if all(_probabilities(scores) for scores in shown.values()):
        note = (
            "ECE, expected calibration error: the mean distance from the dashed line, weighted by rows "
            "(Guo et al., ICML 2017, equation 3; ten bins of equal width). Larger dots hold more rows."
        )
        drawn.append((answer_charts.reliability(truth, dict(list(shown.items())[:_MOST_SERIES])), note))
    return drawn


def _same(trials: Sequence[Trial], *, task: Task) -> dict[str, Array]:
    """Return answers by name; runtimes that gave the same answers share one picture."""
    groups: dict[tuple[str, bytes], list[Trial]] = {}
    for one in trials:
        told = one.answers.argmax(1) if task is Task.CLASSIFICATION else np.round(one.answers, 5)
        groups.setdefault((one.scheme, told.tobytes()), []).append(one)
    return {
        f"{scheme} on {' and '.join(one.runtime for one in group)}": group[0].answers
        for (scheme, _), group in groups.items()
    }


def _probabilities(scores: Array) -> bool:
    """Tell whether scores can be read as probabilities: a margin or a logit has no reliability curve."""
    return bool(np.all(np.isfinite(scores)) and scores.min() >= 0 and np.allclose(scores.sum(1), 1, atol=0.05))


def _by_class(truth: Array, scores: Array) -> dict[str, Array]:
    flags, last = truth.ravel() > 0, scores.reshape(len(scores), -1)[:, -1]
    return {"normal rows": last[~flags], "anomalous rows": last[flags]}


def collapsed(trials: Sequence[Trial], lowered: Mapping[str, Lowering | JobFailed], ingested: Ingested) -> str:
    """Return the tensors that differ most between the float artifact and each candidate that lost its answers."""
    hurt = list(dict.fromkeys(one.scheme for one in trials if one.verdict.code in COLLAPSED and one.figures))
    plain = [one for name, one in lowered.items() if isinstance(one, Lowering) and not SCHEMES[name].quantized]
    text = ""
    for scheme in hurt[:_MOST_COLLAPSED]:
        found = lowered.get(scheme)
        if not isinstance(found, Lowering):
            continue
        twin = next((one for one in plain if one.format is found.format and one is not found), None)
        drawn = _inside(found, twin, ingested)
        head = f"<h3>{html.escape(scheme)}{html.escape(f' against {twin.scheme}') if twin else ''}</h3>"
        text += head + (_figures(drawn) or "<p>Its tensors cannot be read on this machine.</p>")
    return f"<h2>Weights and activations where a candidate collapsed</h2>{text}" if text else ""


def _inside(one: Lowering, twin: Lowering | None, ingested: Ingested) -> list[tuple[str, str]]:
    inputs = {name: array[:_ROWS] for name, array in ingested.parts["validation"].inputs.items()}
    mine = anatomy.look(one.path, one.readings(inputs))
    other = anatomy.look(twin.path, twin.readings(inputs)) if twin else {}
    drawn: list[tuple[str, str]] = []
    for kind, what in ((anatomy.WEIGHT, "weights"), (anatomy.ACTIVATION, "activations")):
        pairs = {name: _twin(name, mine[name], other) for name in mine if name.startswith(kind)}
        far = sorted(pairs, key=lambda name: (-_distance(mine[name], pairs[name]), -mine[name].size))
        for name in far[:_MOST_TENSORS]:
            theirs = pairs[name]
            sets = ({twin.scheme: theirs} if twin and theirs is not None else {}) | {one.scheme: mine[name]}
            short = name.removeprefix(kind).split(";")[0][-48:]
            drawn.append((answer_charts.spread(sets, label="value", title=f"{what}: {short}"), ""))
    return drawn


def _twin(name: str, values: Array, other: Mapping[str, Array]) -> Array | None:
    """Return the float artifact's tensor that this one was made from: converters rename, sizes and values stay close."""
    kind = name.split("/", 1)[0]
    alike = [one for key, one in other.items() if key.startswith(kind) and one.size == values.size]
    if kind == anatomy.WEIGHT.rstrip("/"):
        return min(alike, key=lambda one: _distance(values, one), default=None)
    same = other.get(name)
    return same if same is not None and same.size == values.size else None


def _distance(mine: Array, other: Array | None) -> float:
    """Return the largest gap between the two distributions (Kolmogorov-Smirnov); 0 where there is nothing to compare."""
    if other is None or not len(mine) or not len(other):
        return 0.0
    points = np.sort(np.concatenate([mine, other]))
    shares = [np.searchsorted(np.sort(one), points, side="right") / len(one) for one in (mine, other)]
    return float(np.max(np.abs(shares[0] - shares[1])))


def _pictures(title: str, drawn: Sequence[tuple[str, str]]) -> str:
    return f"<h2>{html.escape(title)}</h2>{_figures(drawn)}" if drawn else ""


def _figures(drawn: Iterable[tuple[str, str]]) -> str:
    text = "".join(
        f"<figure>{svg}{f'<figcaption>{html.escape(note)}</figcaption>' if note else ''}</figure>"
        for svg, note in drawn
    )
    return f'<div class="pictures">{text}</div>' if text else ""


_MOST_SERIES: Final = 4

"""Same answers as the research model? Gate A compares the float artifact, gate B every candidate on every runtime.

A metric's drop comes with a 95 % interval by paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, ch. 13): the same rows are drawn for both, so that what they share cancels out. A gate looks at the interval's
upper end. Beside it stands McNemar's exact test, and a note where the test rows are too few to bound the drop. For an error metric (mae, rmse) the drop is the growth of the error as a share of the research error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.proof import paired, ranks
from sprat.compiler.proof.metrics import ERROR_METRICS, METRICS, RANK_METRICS, metric_of
from sprat.compiler.spec.gates import GateCode, Gates

Array = npt.NDArray[Any]

GATE_A_ABSOLUTE: Final = 1e-4
GATE_A_RELATIVE: Final = 1e-3
NEAR_TIE: Final = 1e-3
"""Two best scores closer than this may change places."""
_ROUNDS: Final = 2000
_NO_ERROR: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Drop:
    """How much of the metric was lost, and the 95 % interval of it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate said: no code means through; the figures behind it."""

    code: GateCode | None = None
    sentence: str = ""
    metric: float = 0.0
    drop: Drop = field(default_factory=lambda: Drop(0.0, 0.0, 0.0))
    agreement: float = 1.0
    recall_drop: float = 0.0
    saturation: float = 0.0
    correct: int = 0
    lost: int = 0
    """Rows whose label the research model alone gets right."""
    gained: int = 0
    """Rows whose label the artifact alone gets right."""
    p_value: float | None = None
    """McNemar's exact test of right against wrong labels; None where there are no labels."""
    note: str = ""
    """What the test rows are too few to tell, though the gate lets it through."""


def gate_a(research: Array, artifact: Array, *, classification: bool) -> Verdict:
    """Compare a float artifact with the research model; a failure is a broken conversion, never to be tuned past."""
    if research.shape != artifact.shape:
        return Verdict(GateCode.PARITY, f"outputs of shape {artifact.shape}, the research model gave {research.shape}")
    if not np.all(np.isfinite(artifact)):
        return Verdict(GateCode.NON_FINITE, f"{int(np.sum(~np.isfinite(artifact)))} outputs are not finite")
    off = np.abs(artifact - research)
    if classification:
        # Probabilities are at most 1; decision scores have a size of their own.
        size = max(1.0, float(np.max(np.abs(research))))
        clear = _margin(research) > NEAR_TIE * size
        swapped = int(np.sum((research.argmax(1) != artifact.argmax(1)) & clear))
        if swapped or off.max() > GATE_A_ABSOLUTE * size:
            return Verdict(
                GateCode.PARITY,
                f"the conversion changes answers: {swapped} labels differ, scores by up to {off.max():.2g} "
                f"(allowed {GATE_A_ABSOLUTE * size:g})",
            )
        return Verdict()
    worst = float(np.max(off / np.maximum(np.abs(research), _scale(research))))
    if worst > GATE_A_RELATIVE:
        return Verdict(GateCode.PARITY, f"the conversion changes values by up to {worst:.2g} of their size")
    return Verdict()


def gate_b(
    metric: str, truth: Array, research: Array, artifact: Array, *, gates: Gates, labels: Sequence[str] = (), seed: int = 0,
    least_error: float = _NO_ERROR,
) -> Verdict:  # fmt: skip
    """Compare a candidate on one runtime with the research model, on the test rows; `labels` name classes in sentences.

    `least_error` is what growth is a share of where the research model's own error is less (its answers are the truth).
    """
    if artifact.shape != research.shape or not np.all(np.isfinite(artifact)):
        return Verdict(GateCode.NON_FINITE, "outputs are not finite, or of another shape than the research model's")
    drop = paired_drop(metric, truth, research, artifact, seed=seed, least_error=least_error)
    verdict = Verdict(
        metric=metric_of(metric, truth, artifact), drop=drop, agreement=_agreement(metric, research, artifact)
    )
    losses: tuple[ClassLoss, ...] = ()
    if metric not in ERROR_METRICS | RANK_METRICS:
        losses = class_losses(truth, research, artifact)
        lost, gained = sum(one.lost for one in losses), sum(one.gained for one in losses)
        verdict = replace(
            verdict,
            recall_drop=max((one.drop for one in losses), default=0.0),
            correct=int(np.sum(artifact.argmax(1) == truth)),
            lost=lost,
            gained=gained,
            p_value=paired.mcnemar(lost, gained),
            note=_too_few(lost, gained, len(truth), gates.max_drop) if metric == "accuracy" else "",
        )
    code, sentence = _stopped(metric, verdict, gates, rows=len(truth)) or _class_stopped(losses, gates, labels)
    return replace(verdict, code=code, sentence=sentence, note=verdict.note if code is None else "")


@dataclass(frozen=True, slots=True)
class ClassLoss:
    """What became of one class's test rows: how many the artifact alone gets wrong, and alone gets right."""

    label: int
    rows: int
    lost: int
    gained: int

    @property
    def drop(self) -> float:
        """Return the drop of the class's recall."""
        return (self.lost - self.gained) / self.rows


def class_losses(truth: Array, research: Array, artifact: Array) -> tuple[ClassLoss, ...]:
    """Return the losses of every class that has test rows."""
    before, after = research.argmax(1) == truth, artifact.argmax(1) == truth
    return tuple(
        ClassLoss(int(label), int(mine.sum()), int(np.sum(mine & before & ~after)), int(np.sum(mine & after & ~before)))
        for label in np.unique(truth)
        for mine in [truth == label]
    )


def small_classes(truth: Array, labels: Sequence[str], gates: Gates) -> tuple[str, ...]:
    """Return a sentence for each class whose test rows are too few to judge its recall by."""
    counts = np.bincount(truth, minlength=len(labels))
    needed = math.ceil(1 / gates.max_recall_drop) if gates.max_recall_drop > 0 else 0
    return tuple(
        f"class {name!r} has no test row: its recall was not judged"
        if count == 0
        else f"class {name!r} has {count} test rows: its recall can be judged to {1 / count:.2f} only; "
        f"gates.max_recall_drop = {gates.max_recall_drop:g} takes {needed}"
        for name, count in zip(labels, counts, strict=True)
        if count < needed
    )


def paired_drop(
    metric: str, truth: Array, research: Array, artifact: Array, *, seed: int, least_error: float = _NO_ERROR
) -> Drop:
    """Return how much worse the artifact is on the same rows, with its 95 % interval."""
    score = METRICS[metric]

    def lost(rows: Array | slice) -> float:
        found = score(truth[rows], research[rows]), score(truth[rows], artifact[rows])
        return _lost(metric, *found, least_error=least_error)

    value = lost(slice(None))
    if metric == "accuracy":
        # A mean of per-row differences: resampling it is drawing how often each difference comes up.
        steps = (research.argmax(1) == truth).astype(int) - (artifact.argmax(1) == truth)
        shares = np.array([np.mean(steps == step) for step in (-1, 0, 1)])
        drawn = np.random.default_rng(seed).multinomial(len(truth), shares, size=_ROUNDS) @ [-1, 0, 1] / len(truth)
    else:
        rng = np.random.default_rng(seed)
        draw = ranks.drawn_by_class if metric in RANK_METRICS else _drawn
        rows = (draw(truth, rng) for _ in range(_ROUNDS // 4))
        drawn = np.array([lost(i) for i in rows])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Drop(float(value), float(low), float(high))


def _drawn(truth: Array, rng: np.random.Generator) -> Array:
    return rng.integers(0, len(truth), len(truth))


def _agreement(metric: str, research: Array, artifact: Array) -> float:
    """Return the share of equal labels; for anomaly scores the correlation of their ranks."""
    if metric in RANK_METRICS:
        return ranks.correlation(research.ravel(), artifact.ravel())
    return 1.0 if metric in ERROR_METRICS else float(np.mean(research.argmax(1) == artifact.argmax(1)))


def with_saturation(verdict: Verdict, raw: Mapping[str, Array]) -> Verdict:
    """Add the share of integer outputs that stand at the end of their range (a softmax may, logits should not)."""
    ends = [
        float(np.mean((array == np.iinfo(array.dtype).min) | (array == np.iinfo(array.dtype).max)))
        for array in raw.values()
        if array.dtype in (np.int8, np.uint8, np.int16)
    ]
    return replace(verdict, saturation=max(ends, default=0.0))


def _stopped(metric: str, found: Verdict, gates: Gates, *, rows: int) -> tuple[GateCode, str] | None:
    """Return the first gate over all rows that does not let it through."""
    what = "grows" if metric in ERROR_METRICS else "drops"
    if found.drop.high > gates.max_drop:
        return GateCode.METRIC_DROP, (
            f"{metric} {what} by {found.drop.value:.4f} (95 % interval up to {found.drop.high:.4f}), "
            f"allowed {gates.max_drop:g}{_more_rows(found.drop, gates.max_drop, rows)}"
        )
    if found.agreement < gates.min_agreement and metric in RANK_METRICS:
        return GateCode.AGREEMENT, (
            f"ranks rows otherwise (correlation {found.agreement:.4f}), expected {gates.min_agreement:g}"
        )
    if found.agreement < gates.min_agreement:
        return GateCode.AGREEMENT, f"agrees on {found.agreement:.4f} of the rows, expected {gates.min_agreement:g}"
    return None


def _class_stopped(
    losses: Sequence[ClassLoss], gates: Gates, labels: Sequence[str]
) -> tuple[GateCode | None, str]:  # fmt: skip
    """Return what the recall of single classes says; one row may always change, whatever share of its class it is."""
    judged = [one for one in losses if one.lost - one.gained > 1]
    worst = max(judged, key=lambda one: one.drop, default=None)
    if worst is None or worst.drop <= gates.max_recall_drop:
        return None, ""
    name = labels[worst.label] if worst.label < len(labels) else str(worst.label)
    return GateCode.RECALL_DROP, (
        f"class {name!r} loses {worst.drop:.4f} of its recall ({worst.lost - worst.gained} of {worst.rows} rows), "
        f"allowed {gates.max_recall_drop:g}"
    )


def _more_rows(drop: Drop, allowed: float, rows: int) -> str:
    """Say how many rows would tell, where only the interval is too wide: its width falls with the root of their number."""
    if drop.value >= allowed or drop.high <= drop.value:
        return ""
    needed = math.ceil(rows * ((drop.high - drop.value) / (allowed - drop.value)) ** 2)
    return f"; {rows} test rows are too few to tell, about {needed} would do"


def _too_few(lost: int, gained: int, rows: int, allowed: float) -> str:
    """Say how far the rows bound the drop, where that is not far enough for the gate's own limit."""
    high = paired.interval(lost, gained, rows)[1]
    if high <= allowed:
        return ""
    needed = paired.rows_to_bound(lost, gained, rows, allowed)
    takes = f"takes about {needed} rows" if needed else "cannot be shown"
    return f"{rows} test rows bound the drop of accuracy to {high:.4f} only; gates.max_drop = {allowed:g} {takes}"


def _lost(metric: str, research: float, artifact: float, *, least_error: float) -> float:
    if metric in ERROR_METRICS:
        return (artifact - research) / max(research, least_error)
    return research - artifact


def _margin(scores: Array) -> Array:
    best = np.sort(scores, axis=1)
    margin: Array = best[:, -1] - best[:, -2]
    return margin


def _scale(values: Array) -> float:
    """Return what counts as small among these values: relative errors below it mean nothing."""
    return max(float(np.mean(np.abs(values))) * 1e-2, 1e-9)

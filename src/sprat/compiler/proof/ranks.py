"""Anomaly scores: how well they rank the unusual rows before the normal ones, and from which score on a row is unusual.

`truth` is 1 for an unusual row and 0 for a normal one; a higher score is more unusual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_FALSE_ALARMS: Final = 0.01
"""Share of normal rows above the threshold where no unusual row is there to choose it by."""


def roc_auc(truth: Array, scores: Array) -> float:
    """Return the chance that an unusual row scores above a normal one, half for a tie (Mann and Whitney, 1947)."""
    unusual = truth == 1
    count = int(unusual.sum())
    rest = len(truth) - count
    above = _ranks(scores.ravel())[unusual].sum() - count * (count + 1) / 2
    return float(above / (count * rest))


def average_precision(truth: Array, scores: Array) -> float:
    """Return the precision averaged over the steps of recall, equal scores taken together."""
    precision, recall, _ = _steps(truth, scores.ravel())
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def trivial(name: str, truth: Array) -> float:
    """Return what a score by chance comes to: one half, or the share of unusual rows."""
    return 0.5 if name == "roc_auc" else float(np.mean(truth == 1))


def correlation(one: Array, other: Array) -> float:
    """Return the rank correlation (Spearman, 1904); 1 where both give every row the same score."""
    a, b = _ranks(one), _ranks(other)
    if np.array_equal(a, b):
        return 1.0
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def drawn_by_class(truth: Array, rng: np.random.Generator) -> Array:
    """Draw rows with replacement, as many normal and unusual ones as there are: neither metric is defined without both."""
    groups = [np.flatnonzero(truth == value) for value in np.unique(truth)]
    return np.concatenate([rng.choice(group, len(group)) for group in groups])


def threshold(truth: Array, scores: Array) -> float:
    """Return the score above which a row is unusual: the best F1 on these rows, midway to the next lower score.

    Without an unusual row among them it lets 1 % of the rows pass for unusual.
    """
    flat = scores.ravel().astype(np.float64)
    if not np.any(truth == 1):
        return float(np.quantile(flat, 1 - _FALSE_ALARMS))
    precision, recall, levels = _steps(truth, flat)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1))
    below = levels[best + 1] if best + 1 < len(levels) else levels[best] - 1.0
    return float((levels[best] + below) / 2)


def _steps(truth: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Return precision and recall of each score as the lowest one called unusual, from the highest score on."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    hits = np.cumsum(truth[order] == 1)[ends]
    return hits / (ends + 1), hits / max(int(hits[-1]), 1), ranked[ends]


def _ranks(values: Array) -> Array:
    """Return ranks from 1 on, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: Array = (last - (counts - 1) / 2)[place]
    return middle


METRICS: Final[Mapping[str, Callable[[Array, Array], float]]] = {
    "roc_auc": roc_auc, "average_precision": average_precision,
}  # fmt: skip

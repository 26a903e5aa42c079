"""The metrics of a recipe: what they are worth on given answers, which way is better, and what a trivial model reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.proof import ranks

Array = npt.NDArray[Any]

ERROR_METRICS: Final = frozenset({"mae", "rmse"})
"""Metrics of which less is better."""
RANK_METRICS: Final = frozenset(ranks.METRICS)
"""Metrics of anomaly scores: only the order of the rows counts."""


def metric_of(name: str, truth: Array, answers: Array) -> float:
    """Return the metric; `answers` are class scores [n, classes], or values [n, width]."""
    return float(METRICS[name](truth, answers))


def beats(name: str, value: float, other: float) -> bool:
    """Tell whether `value` is strictly better than `other`."""
    return value < other if name in ERROR_METRICS else value > other


def yardstick(name: str, train_truth: Array, truth: Array, *, classes: int) -> float:
    """Return the metric of the trivial model: the most frequent class or the mean of the training rows, or chance."""
    if name in ERROR_METRICS:
        return metric_of(name, truth, np.broadcast_to(np.mean(train_truth, axis=0), truth.shape))
    if name in RANK_METRICS:
        return ranks.trivial(name, truth)
    majority = int(np.bincount(train_truth, minlength=classes).argmax())
    return metric_of(name, truth, np.eye(classes)[np.full(len(truth), majority)])


def _accuracy(truth: Array, scores: Array) -> float:
    return float(np.mean(scores.argmax(1) == truth))


def recalls(truth: Array, scores: Array) -> Array:
    """Return the recall of each class that occurs, in the order of the classes."""
    guess = scores.argmax(1)
    return np.array([np.mean(guess[truth == label] == label) for label in np.unique(truth)])


def _errors(truth: Array, values: Array) -> Array:
    return np.asarray(values, np.float64).reshape(len(truth), -1) - np.asarray(truth, np.float64).reshape(
        len(truth), -1
    )


METRICS: Final[Mapping[str, Callable[[Array, Array], float]]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": lambda truth, scores: float(np.mean(recalls(truth, scores))),
    "mae": lambda truth, values: float(np.mean(np.abs(_errors(truth, values)))),
    **ranks.METRICS,
    "rmse": lambda truth, values: float(np.sqrt(np.mean(_errors(truth, values) ** 2))),
}
"""By name: the metric of (truth, answers)."""

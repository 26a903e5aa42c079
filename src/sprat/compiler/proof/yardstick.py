"""The linear yardstick: least squares on the inputs as they are, trained beside every model that learns from labels.

It says whether the model earns its size: one that a straight line matches could be a straight line. The trivial
yardstick (majority or mean) stands in `parity`; its gate always holds, `gates.min_lead` is the one on this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from sprat.compiler.proof import metrics
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.recipe import Recipe
from sprat.data.quality import sample
from sprat.errors import GateFailed
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_ROWS: Final = 4000
_WORDS: Final = 64
"""Words of a text column that get a column of their own; rarer ones count as none of them."""
_RIDGE: Final = 0.01
"""Shrinks the weights by about one part in a hundred of a column's variance, so that doubled columns do no harm."""
_CHUNK: Final = 512
_NO_ERROR: Final = 1e-12


def linear(metric: str, train: Part, test: Part, *, classes: int) -> float:
    """Return the metric that a linear model reaches on the test rows.

    Ridge regression on standardised inputs, on the class's indicator for classification (Hastie, Tibshirani and
    Friedman, The Elements of Statistical Learning, 2009, sections 3.4.1 and 4.2); at most 4,000 training rows, fewer of
    wide ones.
    """
    rows = sample.some(np.arange(len(train.labels)), _ROWS, width=sample.width(train.inputs))
    columns = _Columns.of(train.inputs, rows)
    known, truth = columns.matrix(train.inputs, rows), np.asarray(train.labels)[rows]
    wanted = np.eye(classes)[truth] if classes else truth.reshape(len(rows), -1).astype(np.float64)
    middle = wanted.mean(axis=0)
    weights = _ridge(known, wanted - middle)
    answers = [
        columns.matrix(test.inputs, np.arange(start, min(start + _CHUNK, len(test.labels)))) @ weights + middle
        for start in range(0, len(test.labels), _CHUNK)
    ]
    return metrics.metric_of(metric, test.labels, np.concatenate(answers))


def beside(recipe: Recipe, parts: Mapping[str, Part]) -> float | None:
    """Return what the linear yardstick reaches, None where nothing is learned from labels."""
    if recipe.task is Task.ANOMALY or not recipe.data.label:
        return None
    classes = len(recipe.labels) if recipe.task is Task.CLASSIFICATION else 0
    return linear(recipe.metric, parts["train"], parts["test"], classes=classes)


def refusal(recipe: Recipe, metric: float, found: float | None) -> GateFailed | None:
    """Return the gate `gates.min_lead` where the model's lead over the linear yardstick is too small."""
    if found is None or not recipe.gates.min_lead:
        return None
    # Of an error metric less is better, and the lead is a share of the yardstick's error, as a drop is of the model's.
    lead = (found - metric) / max(found, _NO_ERROR) if recipe.metric in metrics.ERROR_METRICS else metric - found
    if lead >= recipe.gates.min_lead:
        return None
    return GateFailed(
        GateCode.YARDSTICK,
        f"{recipe.metric} {metric:.4f} against {found:.4f} of a linear model is a lead of {lead:.4f}, "
        f"gates.min_lead asks for {recipe.gates.min_lead:g}",
    )


def told(metric: str, model: float, trivial: float, linear: float | None) -> str:
    """Return the model's metric with what the yardsticks reach, in one sentence."""
    if math.isnan(model):
        return f"{metric}: none, the answers are not finite"
    line = "" if linear is None else f", linear {linear:.4f}"
    return f"{metric} {model:.4f}; yardsticks: trivial {trivial:.4f}{line}"


def remarks(metric: str, model: float, linear: float | None) -> list[str]:
    """Return a warning where a linear model does better than the trained one."""
    if linear is None or not metrics.beats(metric, linear, model):
        return []
    return [f"a linear model reaches {metric} {linear:.4f}, the trained one {model:.4f}: is it worth its size?"]


@dataclass(frozen=True, slots=True)
class _Columns:
    """How inputs become one standardised matrix, learned on training rows."""

    words: Mapping[str, tuple[Array, ...]]
    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, inputs: Mapping[str, Array], rows: Array) -> Self:
        words = {
            name: tuple(_frequent(column) for column in array[rows].reshape(len(rows), -1).T)
            for name, array in inputs.items()
            if array.dtype.kind in "SU"
        }
        raw = _raw(inputs, words, rows)
        known = np.isfinite(raw)
        count = np.maximum(1, known.sum(axis=0))
        with np.errstate(over="ignore", invalid="ignore"):  # a column whose squares are no numbers tells a line nothing
            mean = np.where(known, raw, 0.0).sum(axis=0) / count
            spread = np.sqrt((np.where(known, raw - mean, 0.0) ** 2).sum(axis=0) / count)
        return cls(words, mean, np.where(spread > 0, spread, np.inf))

    def matrix(self, inputs: Mapping[str, Array], rows: Array) -> Floats:
        """Return these rows; a missing value stands for the mean."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (_raw(inputs, self.words, rows) - self.mean) / self.spread
        return np.where(np.isfinite(scaled), scaled, 0.0)


def _frequent(column: Array) -> Array:
    words, counts = np.unique(column, return_counts=True)
    return np.asarray(words[np.argsort(-counts, kind="stable")[:_WORDS]])


def _raw(inputs: Mapping[str, Array], words: Mapping[str, tuple[Array, ...]], rows: Array) -> Floats:
    parts: list[Floats] = []
    for name in sorted(inputs):
        flat = inputs[name][rows].reshape(len(rows), -1)
        if name in words:
            parts += [
                (column[:, None] == known).astype(np.float64) for column, known in zip(flat.T, words[name], strict=True)
            ]
        else:
            parts.append(np.asarray(flat, np.float64))
    return np.concatenate(parts, axis=1)


def _ridge(known: Floats, wanted: Floats) -> Floats:
    """Solve in the smaller of rows and columns; both give the same weights."""
    count, width = known.shape
    if width <= count:
        return np.asarray(np.linalg.solve(known.T @ known + _RIDGE * count * np.eye(width), known.T @ wanted))
    return np.asarray(known.T @ np.linalg.solve(known @ known.T + _RIDGE * count * np.eye(count), wanted))

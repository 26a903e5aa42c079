"""Labels: balance, a feature that gives them away, and rows whose neighbours all say something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from sprat.data.quality import sample
from sprat.data.quality.finding import Code, Finding, Severity
from sprat.data.quality.sample import Array
from sprat.data.table import Column

RARE_SHARE: Final = 0.02
"""A class below this share of the rows is called rare."""
LEAK: Final = 0.98
"""Balanced accuracy of one feature alone from which it is said to give the label away."""
RANK_LEAK: Final = 0.999
"""The same for a number: absolute rank correlation (Spearman)."""
NOISE_SHARES: Final = (0.01, 0.1)
"""Labels that all neighbours contradict are told between these shares of the rows; of more, the neighbours are to blame."""
PURE_SHARE: Final = 0.5
"""... and where for at least this share of the rows all neighbours agree with the label: else neighbours tell nothing."""
_NEIGHBOURS: Final = 5
_ROWS: Final = 2000
_LEAK_ROWS: Final = 4000
_MAX_FEATURES: Final = 512
_MIN_EACH: Final = 5


def balance(labels: Column, names: tuple[str, ...]) -> list[Finding]:
    """Return a finding for each class that is absent or rare, an error where there is one class only."""
    counts = np.bincount(np.asarray(labels, np.int64), minlength=len(names))
    if np.sum(counts > 0) == 1:
        only = names[int(counts.argmax())]
        return [Finding("labels", Code.ONE_CLASS, f"all {len(labels)} labels are {only!r}, expected at least two classes", Severity.ERROR)]  # fmt: skip
    return [
        Finding("labels", Code.RARE_CLASS, f"class {name!r} has {count} of {len(labels)} rows")
        for name, count in zip(names, counts, strict=True)
        if count < RARE_SHARE * len(labels)
    ]


def examine_labels(
    features: Mapping[str, Column], inputs: Mapping[str, Array], labels: Array, names: tuple[str, ...]
) -> list[Finding]:
    """Return features that give the label away and hints of wrong labels; class positions where there are names."""
    rows = np.flatnonzero(np.isfinite(labels.reshape(len(labels), -1)).all(axis=1))
    findings = []
    if len(features) <= _MAX_FEATURES and labels.ndim == 1 + (not names):
        truth = labels if names else labels[:, 0]
        chosen = sample.some(rows, _LEAK_ROWS)
        for name, column in features.items():
            findings += _leak(name, column[chosen], truth[chosen], classes=len(names))
    return findings + (_noise(inputs, labels, names) if names else [])


def _leak(name: str, column: Column, labels: Array, *, classes: int) -> list[Finding]:
    known = np.isfinite(column) if column.dtype.kind == "f" else np.ones(len(column), np.bool_)
    column, labels = column[known], labels[known]
    if not classes:
        found, limit, said = _rank_correlation(column, labels), RANK_LEAK, "rank correlation"
    else:
        found, limit, said = _lone_accuracy(column, labels, classes), LEAK, "balanced accuracy"
    if found < limit:
        return []
    return [
        Finding(
            name, Code.LABEL_LEAK, f"{name} alone gives the label away ({said} {found:.3f}); is it known beforehand?"
        )
    ]


def _lone_accuracy(column: Column, labels: Array, classes: int) -> float:
    """Return the balanced accuracy of the nearest known value of this one column, learned on half of the rows."""
    order = np.random.default_rng(0).permutation(len(column))
    half, rest = order[: len(order) // 2], order[len(order) // 2 :]
    if np.sum(np.bincount(labels[half], minlength=classes) >= _MIN_EACH) < 2:
        return 0.0
    values, place = np.unique(column[half], return_inverse=True)
    votes = np.zeros((len(values), classes), np.int64)
    np.add.at(votes, (place, labels[half]), 1)
    right = votes.argmax(axis=1)[_nearest(values, column[rest])] == labels[rest]
    return float(np.mean([right[labels[rest] == one].mean() for one in np.unique(labels[rest])]))


def _nearest(values: Column, asked: Column) -> Array:
    """Return the place of the nearest of sorted values; of words, the next one."""
    above = np.minimum(np.searchsorted(values, asked), len(values) - 1)
    if values.dtype.kind in "SU":
        return above
    below = np.maximum(above - 1, 0)
    far = np.asarray(asked, np.float64)
    closer = np.abs(far - np.asarray(values[below], np.float64)) < np.abs(np.asarray(values[above], np.float64) - far)
    return np.where(closer, below, above)


def _rank_correlation(column: Column, labels: Array) -> float:
    if column.dtype.kind in "SU" or len(column) < 4 * _MIN_EACH or np.ptp(column) == 0 or np.ptp(labels) == 0:
        return 0.0
    ranks = np.stack([np.unique(values, return_inverse=True)[1] for values in (column, labels)])
    return float(abs(np.asarray(np.corrcoef(ranks))[0, 1]))


def _noise(inputs: Mapping[str, Array], labels: Array, names: tuple[str, ...]) -> list[Finding]:
    """Look for rows whose nearest neighbours all have one other label (after Wilson's edited nearest neighbour, 1972)."""
    if not sample.numeric(inputs) or len(labels) <= 2 * _NEIGHBOURS:
        return []
    rows = sample.some(np.arange(len(labels)), _ROWS, width=sample.width(inputs))
    matrix = sample.flat(inputs, rows)
    scaled = sample.scaled(matrix, matrix)
    gaps = sample.distances(scaled, scaled)
    np.fill_diagonal(gaps, np.inf)
    near = labels[rows][np.argpartition(gaps, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]]
    agreed = (near == near[:, :1]).all(axis=1)
    odd = np.flatnonzero(agreed & (near[:, 0] != labels[rows]))
    pure = np.sum(agreed & (near[:, 0] == labels[rows]))
    low, high = NOISE_SHARES
    if not max(1, low * len(rows)) <= len(odd) <= high * len(rows) or pure < PURE_SHARE * len(rows):
        return []
    first = odd[0]
    return [
        Finding(
            "labels", Code.LABEL_NOISE,
            f"{len(odd)} of {len(rows)} rows looked at have only neighbours of one other class, such as row {rows[first]} "
            f"({names[int(labels[rows[first]])]!r} among {names[int(near[first, 0])]!r})",
        )
    ]  # fmt: skip

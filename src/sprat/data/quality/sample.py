"""Bounded looks at large data: every check costs about the same, however many rows there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_CELLS: Final = 4_000_000
"""Numbers that one sample may hold (32 MB)."""


def some(rows: Array, most: int, *, width: int = 1) -> Places:
    """Return at most `most` of the rows, in order, always the same ones; fewer where a row is wide."""
    most = max(2, min(most, _CELLS // max(1, width)))
    if len(rows) <= most:
        return np.asarray(rows, np.int64)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def width(inputs: Mapping[str, Array]) -> int:
    """Return how many numbers one row holds over all inputs."""
    return sum(int(np.prod(array.shape[1:])) for array in inputs.values())


def numeric(inputs: Mapping[str, Array]) -> bool:
    """Tell whether distances between rows mean something: there is no text among them."""
    return bool(inputs) and all(array.dtype.kind in "biuf" for array in inputs.values())


def flat(inputs: Mapping[str, Array], rows: Places) -> Floats:
    """Return these rows as one matrix; a missing value is the column's mean."""
    parts = [inputs[name][rows].reshape(len(rows), -1) for name in sorted(inputs)]
    matrix: Floats = np.concatenate([np.asarray(part, np.float64) for part in parts], axis=1)
    missing = ~np.isfinite(matrix)
    if missing.any():
        matrix[missing] = 0.0
        means = matrix.sum(axis=0) / np.maximum(1, (~missing).sum(axis=0))
        matrix += missing * means
    return matrix


def scaled(matrix: Floats, like: Floats) -> Floats:
    """Return the columns in standard deviations of `like`; one that never changes there counts nothing."""
    with np.errstate(over="ignore", invalid="ignore"):  # of values whose squares are no numbers none counts
        spread = like.std(axis=0)
        moved = matrix - like.mean(axis=0)
    return np.asarray(moved / np.where(spread > 0, spread, np.inf), np.float64)


def distances(rows: Floats, others: Floats) -> Floats:
    """Return the root mean square difference over the columns, between each row and each other."""
    squares = (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None, :] - 2 * rows @ others.T
    return np.asarray(np.sqrt(np.maximum(squares, 0) / rows.shape[1]), np.float64)

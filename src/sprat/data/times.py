"""Columns of time: seconds since 1970 in UTC as numbers, or ISO 8601 as text (without an offset it counts as UTC)."""

from __future__ import annotations

import datetime

import numpy as np
import numpy.typing as npt

from sprat.data.table import Column
from sprat.errors import RecipeError


def seconds(column: Column, name: str) -> npt.NDArray[np.float64]:
    """Return seconds since 1970 in UTC, or raise RecipeError with the first row that has no time."""
    if column.ndim != 1:
        raise RecipeError(f"data: time column {name!r} has shape {list(column.shape)}, expected one time a row")
    if column.dtype.kind in "SU":
        return np.asarray([_parse(str(text), name, row) for row, text in enumerate(column.astype(str))], np.float64)
    found = np.asarray(column, np.float64)
    if len(bad := np.flatnonzero(~np.isfinite(found))):
        raise RecipeError(f"data: time column {name!r} has no time in row {bad[0]}; leave such rows out")
    return found


def parse(text: str) -> datetime.datetime:
    """Read one ISO 8601 time, or raise ValueError."""
    found = datetime.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _parse(text: str, name: str, row: int) -> float:
    try:
        return parse(text).timestamp()
    except ValueError:
        raise RecipeError(
            f"data: time column {name!r} holds {text[:40]!r} in row {row}, expected ISO 8601 or seconds since 1970"
        ) from None

"""Labels: what the data calls its classes, as positions in the recipe's list of names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sprat.data.table import Column
from sprat.errors import RecipeError


def encode(column: Column, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return class positions; the column holds names, or positions already (whole numbers below the count)."""
    if column.ndim != 1:
        raise RecipeError(f"labels: found an array of shape {list(column.shape)}, expected one label for each row")
    if column.dtype.kind in "SU":
        places = {name: position for position, name in enumerate(names)}
        unknown = sorted({str(value) for value in column} - places.keys())
        if unknown:
            raise RecipeError(f"labels: found {unknown[0]!r}, expected one of {', '.join(names)}")
        return np.asarray([places[str(value)] for value in column], np.int64)
    whole = np.asarray(column, np.float64)
    if not np.all(np.isfinite(whole)) or np.any(whole != np.floor(whole)):
        raise RecipeError("labels: found numbers that are not whole, expected names or class positions")
    if whole.min() < 0 or whole.max() >= len(names):
        raise RecipeError(
            f"labels: found positions {int(whole.min())} to {int(whole.max())}, expected 0 to {len(names) - 1}"
        )
    return whole.astype(np.int64)

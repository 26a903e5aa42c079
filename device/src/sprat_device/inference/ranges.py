"""The range of each feature of an input: a wrong unit in a small one hides within the range of a large one beside it."""

from __future__ import annotations

import math
from operator import ge, le
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.manifest import TensorSpec

_MARGIN: Final = 3.0
"""How far outside its training range one feature may lie, in widths of it.

More than the tensor's one width: rooms of 19 to 23 °C in a winter's data are no nonsense at 30 °C in summer, but 70 °F
are. A gait's own calibration rows were seen 1.05 widths outside.
"""
_FEW: Final = 32
"""Up to so many values a plain comparison of each costs less than numpy's calls."""
_MOST_REPEATED: Final = 2**16
"""Up to so many values the limits are kept for each of them: a short last axis makes numpy's loops five times as slow."""

Array = npt.NDArray[Any]


class FeatureLimits:
    """What each feature of a reading may be, prepared once; a feature without a range of its own has the tensor's."""

    def __init__(self, spec: TensorSpec, dtype: np.dtype[Any], *, lowest: float, highest: float, most: float) -> None:
        lows, highs = _limits(spec)
        lows, highs = np.clip(np.maximum(lows, lowest), -most, most), np.clip(np.minimum(highs, highest), -most, most)
        self._few = len(spec.shape) == 2 and spec.shape[1] <= _FEW
        self._each_low, self._each_high = lows.tolist(), highs.tolist()
        self._any_low, self._any_high = float(lows.max()), float(highs.min())
        kind = dtype if dtype.kind == "f" else np.dtype(np.float64)  # another one is converted at each comparison
        self._lows, self._highs = lows.astype(kind), highs.astype(kind)
        if math.prod(spec.shape[1:]) <= _MOST_REPEATED:
            self._lows = np.broadcast_to(self._lows, spec.shape[1:]).copy()
            self._highs = np.broadcast_to(self._highs, spec.shape[1:]).copy()

    def hold(self, reading: Array) -> bool:
        """Tell whether every value is a number within the range of its feature: all that most readings are asked."""
        if self._few:
            found = reading.tolist()
            return all(map(le, self._each_low, found)) and all(map(ge, self._each_high, found))
        # What every feature may be needs no look at each; a place of a NaN comes before any other.
        flat = reading.ravel()
        if self._any_low <= flat.item(flat.argmin()) and flat.item(flat.argmax()) <= self._any_high:
            return True
        return bool(np.count_nonzero((reading >= self._lows) & (reading <= self._highs)) == reading.size)

    def allow(self, reading: Array) -> bool:
        """Tell whether no value lies outside the range of its feature, whatever is missing."""
        return not bool(((reading < self._lows) | (reading > self._highs)).any())


def worst(spec: TensorSpec, reading: Array) -> int | None:
    """Return the place of the feature that lies furthest outside its own range, None where none is too far outside."""
    if not spec.minimums or reading.ndim == 0 or reading.shape[-1] != len(spec.minimums):
        return None
    rows = np.asarray(reading, np.float64).reshape(-1, len(spec.minimums))
    low, high = np.array(spec.minimums), np.array(spec.maximums)
    with np.errstate(all="ignore"):
        beyond = np.maximum(low - rows, rows - high) / (high - low)
    beyond[~np.isfinite(rows)] = 0.0
    beyond[:, low >= high] = 0.0
    furthest = beyond.max(axis=0, initial=0.0)
    place = int(furthest.argmax())
    return place if furthest[place] > _MARGIN else None


def _limits(spec: TensorSpec) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the least and the greatest value of each feature; without end where its range is not known."""
    low, high = np.array(spec.minimums), np.array(spec.maximums)
    with np.errstate(over="ignore"):
        margin = (high - low) * _MARGIN
        return np.where(high > low, low - margin, -np.inf), np.where(high > low, high + margin, np.inf)

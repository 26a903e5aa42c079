"""Images: resizing and gray, in numpy alone.

What is computed is float32 and not rounded, so it is the same whether the pixels come as bytes, as JSON or as floats.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
NEAREST: Final = "nearest"
BILINEAR: Final = "bilinear"
METHODS: Final = (NEAREST, BILINEAR)
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""Red, green and blue in luma: ITU-R BT.601."""


class Resize:
    """Resizes to one size; what depends on the source's size is worked out once for each that comes in a row.

    Pixel centres lie at halves (as in OpenCV and TensorFlow 2); bilinear without a filter against aliasing.
    """

    def __init__(self, height: int, width: int, method: str) -> None:
        self._height = height
        self._width = width
        self._method = method
        self._source = (0, 0)
        self._rows = self._columns = _Axis.of(1, 1)

    def __call__(self, image: Array) -> Array:
        """Return the image in the size: float32, or by `nearest` the pixels as they are."""
        if image.shape[:2] != self._source:
            self._source = image.shape[0], image.shape[1]
            self._rows, self._columns = _Axis.of(self._source[0], self._height), _Axis.of(self._source[1], self._width)
        if self._method == NEAREST:
            return image[self._rows.nearest[:, None], self._columns.nearest]
        down = self._rows.mixed(image.astype(np.float32), axis=0)
        return self._columns.mixed(down, axis=1)


class _Axis:
    """Where the pixels of one axis come from."""

    def __init__(self, before: Array, after: Array, weight: Array, nearest: Array) -> None:
        self.before = before
        self.after = after
        self.weight = weight
        self.nearest = nearest

    @classmethod
    def of(cls, source: int, target: int) -> _Axis:
        place = (np.arange(target) + 0.5) * (source / target) - 0.5
        floor = np.floor(place)
        before = np.clip(floor, 0, source - 1).astype(np.intp)
        after = np.clip(floor + 1, 0, source - 1).astype(np.intp)
        nearest = np.clip(np.floor(place + 0.5), 0, source - 1).astype(np.intp)
        return cls(before, after, (place - floor).astype(np.float32), nearest)

    def mixed(self, image: Array, *, axis: int) -> Array:
        weight = self.weight.reshape(-1, *(1,) * (image.ndim - 1 - axis))
        first, second = image.take(self.before, axis), image.take(self.after, axis)
        mixed: Array = first + (second - first) * weight
        return mixed


def gray(image: Array) -> Array:
    """Return [height, width, 1] of [height, width, 3] in red, green and blue."""
    light: Array = image.astype(np.float32) @ _LUMA
    return light[..., None]


def rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return values in an integer dtype: rounded to the nearest (half to even), and within its bounds."""
    bounds = np.iinfo(dtype)
    whole: Array = np.clip(np.rint(values), bounds.min, bounds.max).astype(dtype)
    return whole

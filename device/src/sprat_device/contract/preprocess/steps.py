"""The steps by name: each reads its parameters and returns a function of one reading's array.

Images are [height, width] or [height, width, channels]; windows [rows, channels] or [rows].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, number
from sprat_device.contract.preprocess import image

Array = npt.NDArray[Any]
Apply = Callable[[Array], Array]
_WHOLE: Final = ("uint8", "int8", "int16")


class StepFailed(ValueError):
    """An array that a step cannot take: what it is, and what is expected."""


def _resize(fields: Fields) -> Apply:
    height, width = _size(fields)
    method = fields.text("method", default=image.BILINEAR, max_length=16)
    if method not in image.METHODS:
        raise ContractError(f"resize: method {method!r}, expected {' or '.join(image.METHODS)}")
    resized = image.Resize(height, width, method)
    return lambda array: resized(_image(array, "resize"))


def _crop(fields: Fields) -> Apply:
    height, width = _size(fields)

    def crop(array: Array) -> Array:
        found = _image(array, "centre-crop")
        if found.shape[0] < height or found.shape[1] < width:
            raise StepFailed(f"centre-crop: an image of {_shown(found)}, expected at least {height} x {width}")
        top, left = (found.shape[0] - height) // 2, (found.shape[1] - width) // 2
        return found[top : top + height, left : left + width]

    return crop


def _gray(_fields: Fields) -> Apply:
    def gray(array: Array) -> Array:
        if array.ndim == 2:
            return array[..., None]
        if array.ndim == 3 and array.shape[2] == 1:
            return array
        if array.ndim != 3 or array.shape[2] != 3:
            raise StepFailed(f"gray: an array of shape {_shown(array)}, expected height x width x 3")
        return image.gray(array)

    return gray


def _reverse(_fields: Fields) -> Apply:
    return lambda array: _deep(array, "reverse-channels")[..., ::-1]


def _first(_fields: Fields) -> Apply:
    return lambda array: np.moveaxis(_deep(array, "channels-first"), -1, 0)


def _scale(fields: Fields) -> Apply:
    scale, offset = _numbers(fields, "scale", 1.0), _numbers(fields, "offset", 0.0)
    return lambda array: _broadcast("scale", array, lambda values: values * scale + offset)


def _normalise(fields: Fields) -> Apply:
    mean, std = _numbers(fields, "mean", 0.0), _numbers(fields, "std", 1.0)
    if not np.all(std > 0):
        raise ContractError("normalise: std must be above zero")
    return lambda array: _broadcast("normalise", array, lambda values: (values - mean) / std)


def _round(fields: Fields) -> Apply:
    name = fields.text("dtype", default="uint8", max_length=16)
    if name not in _WHOLE:
        raise ContractError(f"round: dtype {name!r}, expected one of {', '.join(_WHOLE)}")
    dtype = np.dtype(name)

    def whole(array: Array) -> Array:
        if array.dtype.kind not in "biuf" or not np.all(np.isfinite(array)):
            raise StepFailed(f"round: {array.dtype} of shape {_shown(array)}, expected finite numbers")
        return image.rounded(array, dtype)

    return whole


def _remove_mean(_fields: Fields) -> Apply:
    def remove_mean(array: Array) -> Array:
        values = _rows(array, "remove-mean").astype(np.float64)
        level: Array = (values - values.mean(axis=0)).astype(np.float32)
        return level

    return remove_mean


def _detrend(_fields: Fields) -> Apply:
    """Take away each channel's straight line of least squares."""

    def detrend(array: Array) -> Array:
        values = _rows(array, "detrend").astype(np.float64)
        place = np.arange(len(values)) - (len(values) - 1) / 2
        # The places sum to zero, so slope and mean are found apart.
        slope = np.tensordot(place, values, (0, 0)) / (float(place @ place) or 1.0)
        line = np.multiply.outer(place, slope)
        flat: Array = (values - values.mean(axis=0) - line).astype(np.float32)
        return flat

    return detrend


STEPS: Final[Mapping[str, Callable[[Fields], Apply]]] = {
    "resize": _resize,
    "centre-crop": _crop,
    "gray": _gray,
    "reverse-channels": _reverse,
    "channels-first": _first,
    "scale": _scale,
    "normalise": _normalise,
    "round": _round,
    "remove-mean": _remove_mean,
    "detrend": _detrend,
}


def _size(fields: Fields) -> tuple[int, int]:
    most = 16_384
    return fields.integer("height", minimum=1, maximum=most), fields.integer("width", minimum=1, maximum=most)


def _numbers(fields: Fields, key: str, default: float) -> npt.NDArray[np.float32]:
    """Return one number, or one for each channel."""
    return fields.value(key, _vector, default=np.array(default, np.float32))


def _vector(raw: object) -> npt.NDArray[np.float32]:
    values = (
        [number(value, f"[{i}]") for i, value in enumerate(raw)]
        if isinstance(raw, list | tuple)
        else number(raw, "value")
    )
    if np.max(np.abs(values), initial=0.0) > np.finfo(np.float32).max:
        raise ContractError("a number that no float32 holds")
    return np.array(values, np.float32)


def _broadcast(step: str, array: Array, work: Callable[[Array], Array]) -> Array:
    if array.dtype.kind not in "biuf":
        raise StepFailed(f"{step}: an array of {array.dtype}, expected numbers")
    values = array.astype(np.float32)
    try:
        done = work(values)
    except ValueError as exc:
        raise StepFailed(f"{step}: an array of shape {_shown(array)} for as many channels ({exc})") from exc
    if done.shape != array.shape:
        raise StepFailed(f"{step}: an array of shape {_shown(array)} has another number of channels")
    return done


def _image(array: Array, step: str) -> Array:
    if array.ndim not in (2, 3) or array.dtype.kind not in "iuf" or array.size == 0:
        raise StepFailed(f"{step}: {array.dtype} of shape {_shown(array)}, expected height x width [x channels]")
    return array


def _deep(array: Array, step: str) -> Array:
    if array.ndim != 3:
        raise StepFailed(f"{step}: an array of shape {_shown(array)}, expected height x width x channels")
    return array


def _rows(array: Array, step: str) -> Array:
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf" or len(array) == 0:
        raise StepFailed(f"{step}: {array.dtype} of shape {_shown(array)}, expected rows [x channels]")
    return array


def _shown(array: Array) -> str:
    return " x ".join(map(str, array.shape)) or "none"

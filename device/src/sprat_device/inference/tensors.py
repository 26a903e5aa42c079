"""From readings in their unit to the artifact's tensors and back, by the facts in the manifest.

A quantized tensor holds q with value = (q - zero_point) * scale (TensorFlow Lite's affine quantization).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.manifest import TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference.ranges import FeatureLimits
from sprat_device.inference.runtimes.raw import RawTensor

_RANGE_MARGIN: Final = 1.0
"""How far outside the training range a reading may lie, in widths of it: drift is reported, only nonsense is refused."""
# Asked before a runtime is loaded: tflite-runtime makes 64-bit ARM read subnormals as zero, and then numpy warns here.
_MOST: Final = {np.dtype(kind): float(np.finfo(kind).max) for kind in (np.float16, np.float32, np.float64)}


class InputSlot:
    """One input: its checks and its way into the artifact's dtype, prepared once."""

    def __init__(self, spec: TensorSpec, tensor: RawTensor) -> None:
        self.name = spec.name
        self.raw_name = tensor.name
        self.shape = spec.shape[1:]
        self.dtype = reading_dtype(spec)
        self._quantized = spec.scale > 0
        self._scale = np.float32(spec.scale) if self._quantized else np.float32(1)
        self._zero_point = np.float32(spec.zero_point)
        self._raw_dtype = np.dtype(np.str_ if spec.dtype == "string" else spec.dtype)
        self._limits = np.iinfo(self._raw_dtype) if self._quantized else None
        margin = (spec.maximum - spec.minimum) * _RANGE_MARGIN
        most = _MOST.get(self.dtype, math.inf)
        known = spec.maximum > spec.minimum
        self._lowest = spec.minimum - margin if known else -most
        self._highest = spec.maximum + margin if known else most
        self._features: FeatureLimits | None = None
        if spec.minimums:
            self._features = FeatureLimits(spec, self.dtype, lowest=self._lowest, highest=self._highest, most=most)
        self._numeric = self._raw_dtype.kind in "fiu"
        self._categories = [frozenset(known) for known in spec.categories]
        self._codes = [
            (place, frozenset(np.asarray(known, self.dtype).tolist()))
            for place, known in enumerate(spec.codes)
            if known
        ]
        self._missing_allowed = spec.missing_allowed
        # Floats may lose precision on their way in; integers must not lose their upper bits.
        self._casting: Literal["same_kind", "safe"] = "same_kind" if self.dtype.kind == "f" else "safe"

    def reason(self, reading: npt.NDArray[Any] | None) -> Reason | None:
        """Return why a reading (without the batch axis) must not be run, or None."""
        if reading is None:
            return Reason.INPUT_MISSING
        if reading.shape != self.shape:
            return Reason.INPUT_SHAPE
        if not self._numeric:
            return self._text_reason(reading)
        if reading.dtype != self.dtype and not np.can_cast(reading.dtype, self.dtype, self._casting):
            return Reason.INPUT_DTYPE
        held = self._features is not None and self._features.hold(reading)
        low, high = (0.0, 0.0) if held else self._ends(reading)
        if not (math.isfinite(low) and math.isfinite(high)):
            nothing = self._missing_allowed and math.isnan(low)
            return None if nothing else Reason.INPUT_NON_FINITE
        fits = held or (self._lowest <= low and high <= self._highest and self._fits_each(reading))
        return None if fits and (not self._codes or self._is_known(reading)) else Reason.INPUT_RANGE

    def _fits_each(self, reading: npt.NDArray[Any]) -> bool:
        return self._features is None or self._features.allow(reading)

    def _ends(self, reading: npt.NDArray[Any]) -> tuple[float, float]:
        """Return the least and the greatest value: not a number if any is none, or only if all are, where one may miss."""
        if self._missing_allowed:
            return np.fmin.reduce(reading, axis=None), np.fmax.reduce(reading, axis=None)
        # Places cost a third of what the reductions do; that of the first NaN comes before any other.
        flat = reading.ravel()
        return flat.item(flat.argmin()), flat.item(flat.argmax())

    def _is_known(self, reading: npt.NDArray[Any]) -> bool:
        """Tell whether every code is one of the data: a model answers another as if it lay between two that it knows."""
        rows = np.asarray(reading, self.dtype).reshape(-1, self.shape[-1])
        return all(
            value in allowed or (self._missing_allowed and math.isnan(value))
            for place, allowed in self._codes
            for value in rows[:, place].tolist()
        )

    def _text_reason(self, reading: npt.NDArray[Any]) -> Reason | None:
        """Return why a reading of text must not be run: an encoder gives zeros to a text that it never saw."""
        if reading.dtype.kind != self.dtype.kind:
            return Reason.INPUT_DTYPE
        known = all(
            str(value) in allowed
            for row in reading.reshape(-1, len(self._categories) or 1)
            for value, allowed in zip(row, self._categories, strict=False)
        )
        return None if known else Reason.INPUT_RANGE

    def tensor(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the artifact's tensor for a batch of readings."""
        if self._limits is None:
            return batch.astype(self._raw_dtype, copy=False)
        steps = batch / self._scale
        steps += self._zero_point
        np.rint(steps, out=steps)
        # Not np.clip: its wrapper costs more than the two ufuncs.
        np.maximum(steps, self._limits.min, out=steps)
        np.minimum(steps, self._limits.max, out=steps)
        return steps.astype(self._raw_dtype)


def reading_dtype(spec: TensorSpec) -> np.dtype[Any]:
    """Return the dtype of readings: the input's own, or float32 where the input is quantized."""
    if spec.scale > 0:
        return np.dtype(np.float32)
    return np.dtype(np.str_ if spec.dtype == "string" else spec.dtype)


def values(spec: TensorSpec) -> Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]:
    """Return what brings a raw output into its unit."""
    if spec.scale == 0:
        return (lambda tensor: tensor) if spec.dtype == "float32" else lambda tensor: tensor.astype(np.float32)
    scale, zero_point = np.float32(spec.scale), np.float32(spec.zero_point)
    if spec.dtype not in ("int8", "uint8"):
        return lambda tensor: (tensor.astype(np.float32) - zero_point) * scale
    # All 256 values are worked out once; indexed by the byte, whatever its sign.
    every = (np.arange(256, dtype=np.uint8).view(spec.dtype).astype(np.float32) - zero_point) * scale
    return lambda tensor: every[tensor.view(np.uint8)]


def match(specs: tuple[TensorSpec, ...], tensors: tuple[RawTensor, ...]) -> tuple[RawTensor, ...]:
    """Return the runtime's tensor for each spec, by its own or its signature's name; BundleRefused where they differ."""
    by_name = {tensor.alias: tensor for tensor in tensors} | {tensor.name: tensor for tensor in tensors}
    for spec in specs:
        if spec.name not in by_name:
            names = ", ".join(tensor.name for tensor in tensors)
            raise _mismatch(f"tensor {spec.name!r} is not in the artifact, which has {names}")
        _require_same(spec, by_name[spec.name])
    return tuple(by_name[spec.name] for spec in specs)


def _require_same(spec: TensorSpec, tensor: RawTensor) -> None:
    if spec.dtype != tensor.dtype:
        raise _mismatch(f"tensor {spec.name!r}: dtype {tensor.dtype} in the artifact, {spec.dtype} in the manifest")
    fits = len(spec.shape) == len(tensor.shape) and all(
        said == found or -1 in (said, found) for said, found in zip(spec.shape, tensor.shape, strict=True)
    )
    if not fits:
        raise _mismatch(
            f"tensor {spec.name!r}: shape {list(tensor.shape)} in the artifact, {list(spec.shape)} in the manifest"
        )
    same_scale = math.isclose(spec.scale, tensor.scale, rel_tol=1e-5)
    if not same_scale or (spec.scale > 0 and spec.zero_point != tensor.zero_point):
        raise _mismatch(
            f"tensor {spec.name!r}: quantized by {tensor.scale:g}, {tensor.zero_point} in the artifact, "
            f"{spec.scale:g}, {spec.zero_point} in the manifest"
        )


def _mismatch(message: str) -> BundleRefused:
    return BundleRefused(Reason.MANIFEST_MISMATCH, message)

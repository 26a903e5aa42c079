"""Why a reading is no input of a model, for people: what came and what was expected. Asked only after a check has failed."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat_device.contract.manifest import TensorSpec
from sprat_device.inference.ranges import worst
from sprat_device.inference.tensors import reading_dtype


def explain(spec: TensorSpec, row: Mapping[str, npt.NDArray[Any]], prepared: Container[str]) -> str:
    """Return what came for an input and what was expected, whichever of the checks it was that failed."""
    array = row.get(spec.name)
    found = "nothing" if array is None else f"{_kind(array.dtype)} {list(array.shape)}"
    if array is not None and array.size and array.dtype.kind in "iuf":
        found += _span(array)
    feature, of_it = _feature(spec, array)
    known = f", about {spec.minimum:g} to {spec.maximum:g}" if spec.maximum > spec.minimum else ""
    unit = f" {spec.unit}" if spec.unit else ""
    after = " after its pre-processing" if spec.name in prepared else ""
    wanted = f"finite {reading_dtype(spec).name} {list(spec.shape[1:])}{after}"
    return f"input {spec.name!r}: found {found}{feature}, expected {wanted}{known}{unit}{of_it}"


def _feature(spec: TensorSpec, array: npt.NDArray[Any] | None) -> tuple[str, str]:
    """Return what was found of the feature that is furthest outside its range, and what is expected of it."""
    if array is None or array.dtype.kind not in "iuf" or (place := worst(spec, array)) is None:
        return "", ""
    name = repr(spec.features[place]) if spec.features else f"column {place}"
    low, high = spec.minimums[place], spec.maximums[place]
    one = array[..., place]
    found = f" {one:g}" if one.ndim == 0 else _span(one)
    return f", {name}{found}", f", {name} about {low:g} to {high:g}"


def _span(array: npt.NDArray[Any]) -> str:
    finite = array[np.isfinite(array)]
    span = f" from {finite.min():g} to {finite.max():g}" if finite.size else ""
    odd = array.size - finite.size
    return f"{span}, {odd} of {array.size} values not finite" if odd else span


def _kind(dtype: np.dtype[Any]) -> str:
    return {"U": "text", "O": "mixed values"}.get(dtype.kind, dtype.name)

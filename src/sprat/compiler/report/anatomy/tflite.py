"""Weights and activations of a `.tflite`, run on reference kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from sprat.compiler.report.anatomy import ACTIVATION, WEIGHT

Array = npt.NDArray[Any]


def tensors(path: Path, rows: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield `weight/NAME` and `activation/NAME` with their values; rows are fed one by one, state kept between them."""
    # Reference kernels: a delegate would fuse operators and keep their tensors to itself.
    interpreter = Interpreter(
        model_path=str(path), experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )  # fmt: skip
    interpreter.allocate_tensors()
    made = {int(i) for op in interpreter._get_ops_details() for i in op["outputs"]}
    inputs = {str(detail["name"]): detail for detail in interpreter.get_input_details()}
    for signature in interpreter._get_full_signature_list().values():
        places = {detail["index"]: detail for detail in inputs.values()}
        inputs = {name: places[index] for name, index in signature["inputs"].items()}
    # A variable's handle is no tensor of numbers: asked for its values, the runtime ends the process.
    details = {
        detail["index"]: detail
        for detail in interpreter.get_tensor_details()
        if detail["name"] and detail["dtype"] is not np.object_
    }
    fed = {detail["index"] for detail in inputs.values()}
    for index, detail in details.items():
        if index not in made | fed and np.prod(detail["shape"], initial=1) > 1:
            yield WEIGHT + detail["name"], _real(interpreter.get_tensor(index), detail)
    seen: dict[int, list[Array]] = {index: [] for index in made if index in details}
    for i in range(len(next(iter(rows.values())))):
        for name, detail in inputs.items():
            interpreter.set_tensor(detail["index"], _stored(rows[name][i : i + 1], detail))
        interpreter.invoke()
        for index, values in seen.items():
            values.append(_real(interpreter.get_tensor(index), details[index]))
    for index, values in seen.items():
        yield ACTIVATION + details[index]["name"], np.concatenate(values)


def _real(values: Array, detail: Mapping[str, Any]) -> Array:
    """Return what the stored numbers stand for; per channel where the file says so."""
    parameters = detail["quantization_parameters"]
    scales, zeros = parameters["scales"], parameters["zero_points"]
    if values.dtype.kind not in "iu" or not len(scales):
        return np.asarray(values).ravel()
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[parameters["quantized_dimension"]] = len(scales)
    real: Array = ((values.astype(np.float64) - zeros.reshape(shape)) * scales.reshape(shape)).ravel()
    return real


def _stored(values: Array, detail: Mapping[str, Any]) -> Array:
    """Return a reading as the artifact's input takes it."""
    scale, zero = detail["quantization"]
    if np.dtype(detail["dtype"]).kind in "iu" and scale and values.dtype.kind == "f":
        ends = np.iinfo(detail["dtype"])
        values = np.clip(np.round(values / scale) + zero, ends.min, ends.max)
    return np.asarray(values, detail["dtype"])

"""Dimensions of a given graph: what is left open is fixed to what the rows have, or refused.

The first axis counts rows and may stay open. Every other one must be a number, because a device allocates before it
has seen a reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sprat.errors import RecipeError

Rows = Mapping[str, npt.NDArray[Any]]


def shape_of(value: Any) -> tuple[int, ...]:
    """Return a value's dimensions, -1 where one is open."""
    return tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)


def graph_inputs(model: Any) -> list[Any]:
    """Return what has to be fed: inputs that are not weights with a name."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def fix(model: Any, rows: Rows, *, name: str) -> dict[str, list[int]]:
    """Fix the open dimensions of the inputs to the rows' in place; return those that changed, by input."""
    changed: dict[str, list[int]] = {}
    for value in graph_inputs(model):
        said, found = shape_of(value), (-1, *rows[value.name].shape[1:])
        _require_fit(value.name, said, found, name)
        if -1 in said[1:]:
            for dim, size in zip(list(value.type.tensor_type.shape.dim)[1:], found[1:], strict=True):
                dim.dim_value = size
            changed[value.name] = [said[0], *found[1:]]
    if changed:
        # What was inferred from the open dimensions no longer holds.
        del model.graph.value_info[:]
        for output in model.graph.output:
            for dim in list(output.type.tensor_type.shape.dim)[1:]:
                dim.Clear() if dim.dim_param else None
    return changed


def _require_fit(value: str, said: tuple[int, ...], found: tuple[int, ...], name: str) -> None:
    shown = [n if n > 0 else "?" for n in said]
    if not said:
        raise RecipeError(f"{name}: input {value!r} has no dimensions; export it with a shape, batch 1 first")
    if said[0] not in (1, -1):
        raise RecipeError(
            f"{name}: input {value!r} takes {said[0]} rows at a time {shown}; a device has one: export it with batch 1"
        )
    if len(said) != len(found) or any(a not in (b, -1) for a, b in zip(said[1:], found[1:], strict=True)):
        raise RecipeError(
            f"{name}: input {value!r} is {shown}, the recipe's rows are {['?', *found[1:]]}; "
            "give it that shape in the data, or export it for this one"
        )


def complete_outputs(model: Any, one_row: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write into the outputs, in place, the dimensions that one row of answers has."""
    for output in model.graph.output:
        answer = one_row[output.name]
        tensor = output.type.tensor_type
        said = shape_of(output)
        if len(said) != answer.ndim or any(n < 0 for n in said[1:]):
            batch = tensor.shape.dim[0].dim_param if tensor.shape.dim else ""
            fixed = said[:1] == (1,)
            del tensor.shape.dim[:]
            for axis, size in enumerate(answer.shape):
                dim = tensor.shape.dim.add()
                if axis or fixed:
                    dim.dim_value = size
                else:
                    dim.dim_param = batch or "rows"


def require_rows(value: str, answer: npt.NDArray[Any], *, name: str) -> None:
    """Raise RecipeError where an answer to one row does not have one row."""
    if answer.ndim == 0 or answer.shape[0] != 1:
        raise RecipeError(
            f"{name}: output {value!r} has shape {list(answer.shape)} for one row, expected [1, ...]; "
            "export it with the batch first"
        )


def fed(rows: Rows, model: Any) -> dict[str, npt.NDArray[Any]]:
    """Return rows in the types that the graph takes; texts as objects, as ONNX Runtime wants them."""
    kinds = {value.name: numpy_dtype(value.type.tensor_type.elem_type) for value in graph_inputs(model)}
    return {name: np.asarray(array, object if kinds[name] == "string" else kinds[name]) for name, array in rows.items()}


def numpy_dtype(element: int) -> str:
    """Return the name of an ONNX element type."""
    if element == onnx.TensorProto.STRING:
        return "string"
    return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element)).name)

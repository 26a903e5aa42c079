"""A given `.onnx`: the research model is the file itself, run by ONNX's reference evaluator."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

from sprat.compiler.factory import Part
from sprat.compiler.work import Lowered, TensorFacts, Work
from sprat.errors import RecipeError


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, npt.NDArray[Any]]:
    """Answer every part with the file's last output (classifiers give the label first, then the scores)."""
    try:
        model = onnx.load(work.given)
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, OSError) as exc:
        raise RecipeError(f"{work.given}: not a valid .onnx ({exc})") from exc
    types = {tensor.name: tensor.dtype for tensor in lowered(model.SerializeToString(), {}).inputs}
    if sorted(types) != sorted(work.input_names):
        raise RecipeError(
            f"{work.given}: its inputs are {', '.join(types)}, the recipe's {', '.join(work.input_names)}"
        )
    evaluator = ReferenceEvaluator(model)
    return {
        key: np.asarray(
            evaluator.run(None, {name: np.asarray(array, types[name]) for name, array in part.inputs.items()})[-1]
        )
        for key, part in parts.items()
    }


def source_digest(work: Work) -> str:
    """Return the SHA-256 of the given file."""
    return hashlib.sha256(Path(work.given).read_bytes()).hexdigest()


def lowered(artifact: bytes, options: Mapping[str, Any]) -> Lowered:
    """Read what an `.onnx` says of itself."""
    model = onnx.load_from_string(artifact)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_facts(value) for value in model.graph.input if value.name not in constants)
    ops = sorted({f"{node.domain or 'ai.onnx'}.{node.op_type}" for node in model.graph.node})
    return Lowered(artifact, inputs, tuple(_facts(value) for value in model.graph.output), options, tuple(ops))


def _facts(value: Any) -> TensorFacts:

    tensor = value.type.tensor_type
    if not tensor.elem_type:
        raise RecipeError(f"output {value.name!r} is no tensor (zipmap?); export it with zipmap off")
    dtype = "string" if tensor.elem_type == onnx.TensorProto.STRING else np.dtype(
        onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    ).name  # fmt: skip
    shape = tuple(dim.dim_value or -1 for dim in tensor.shape.dim)
    return TensorFacts(value.name, dtype, shape)

"""Keras to ONNX: float32, by way of the exported model, frozen; tf2onnx's own way from Keras 3 (`from_keras`) ends in a KeyError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

import tensorflow as tf
import tf2onnx
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from sprat.compiler.frontends import onnx, onnx_names
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import SAVED_MODEL, Lowered, Work

OPSET: Final = 18
"""The newest that tf2onnx writes."""


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert the exported function with its static batch; the names of inputs and outputs stay."""
    del parts
    loaded = tf.saved_model.load(str(work.path / SAVED_MODEL))  # kept: the function's variables live as long as this
    serve = loaded.signatures["serving_default"]
    # Frozen first: tf2onnx would take the constants that a function captures, a Normalization's among them, for inputs.
    # Loops stay whole, or those of recurrent layers come out without a type.
    frozen = convert_variables_to_constants_v2(serve, lower_control_flow=False, aggressive_inlining=True)
    inputs = {tensor.name: tensor.name.removesuffix(":0").removeprefix("serving_default_") for tensor in frozen.inputs}
    outputs = {tensor.name: name for tensor, name in zip(frozen.outputs, sorted(serve.structured_outputs), strict=True)}
    graph, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(), name=work.model, input_names=list(inputs), output_names=list(outputs), opset=OPSET,
        custom_op_handlers={"Erfc": (_erfc, [])}, tensors_to_rename={**inputs, **outputs},
    )  # fmt: skip
    onnx_names.by_place(graph)
    options = {"opset": OPSET, "tf2onnx": version("tf2onnx")}
    return onnx.lowered(graph.SerializeToString(deterministic=True), options)


def _erfc(context: Any, node: Any, _name: str, _arguments: Any) -> None:
    """Write erfc(x), of which GELU is made in Keras 3 and which ONNX does not have, as 1 - erf(x)."""
    kind = context.get_dtype(node.output[0])
    shape = context.get_shape(node.output[0])
    (source,), (output,) = node.input, node.output
    context.remove_node(node.name)
    erf = context.make_node("Erf", [source], shapes=[shape], dtypes=[kind])
    one = context.make_const(tf2onnx.utils.make_name("one"), _one(kind))
    context.make_node("Sub", [one.output[0], erf.output[0]], outputs=[output], shapes=[shape], dtypes=[kind])


def _one(kind: int) -> Any:
    return tf2onnx.utils.ONNX_TO_NUMPY_DTYPE[kind](1)

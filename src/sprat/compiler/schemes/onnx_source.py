"""What the ONNX schemes start from: the model's own float graph, whichever framework it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process

from sprat.compiler.frontends import onnx as given_file
from sprat.compiler.frontends import onnx_file
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import Work
from sprat.errors import GateFailed

Parts = Callable[[], Mapping[str, Part]]

_WEIGHTED: Final = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "Gather"})
ROUNDED: Final = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearConv",
     "QLinearMatMul", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulNBits", "QGemm"}
)  # fmt: skip
_DOUBLE: Final = onnx.TensorProto.DOUBLE
_FLOAT: Final = onnx.TensorProto.FLOAT


@dataclass(frozen=True, slots=True)
class Source:
    """The unquantized graph, and what was said of it that holds for whatever is made of it."""

    model: Any
    options: Mapping[str, Any]


def float_graph(work: Work, parts: Parts) -> Source:
    """Return the unquantized graph; GateFailed `no-op` where the file is quantized already."""
    # Imported where they are needed: a given file needs neither TensorFlow nor scikit-learn's converters.
    match work.framework:
        case "onnx":
            given = given_file.given(work, parts())
            source = Source(given.model, given.options)
        case "keras":
            from sprat.compiler.schemes import float32_onnx  # noqa: PLC0415

            lowered = float32_onnx.lower(work, parts)
            source = Source(onnx_file.parse(lowered.artifact, name=work.model), _carried(lowered.options))
        case _:
            from sprat.compiler.schemes import float64_onnx  # noqa: PLC0415

            lowered = float64_onnx.lower(work, parts)
            source = Source(onnx_file.parse(lowered.artifact, name=work.model), _carried(lowered.options))
    if rounded := sorted(ROUNDED & ops(source.model)):
        raise GateFailed(GateCode.NO_OP, f"the file is quantized already ({rounded[0]})")
    return source


def float32_graph(work: Work, parts: Parts) -> Source:
    """Return the unquantized graph in float32."""
    source = float_graph(work, parts)
    to_float32(source.model)
    return source


def _carried(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is read from each artifact anew."""
    return {key: value for key, value in options.items() if key not in {"opsets", "ir", "input"}}


def ops(model: Any) -> set[str]:
    """Return the operators of a graph and of those inside its nodes."""
    return {node.op_type for graph in onnx_file.graphs(model.graph) for node in graph.node}


def to_float32(model: Any) -> int:
    """Make float32 of every float64 in place; return how many values and constants were float64."""
    changed = 0
    for graph in onnx_file.graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type == _DOUBLE:
                value.type.tensor_type.elem_type = _FLOAT
                changed += 1
        tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
        for tensor in tensors:
            if tensor.data_type == _DOUBLE:
                narrow = onnx.numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(narrow, tensor.name))
                changed += 1
        for attribute in (a for node in graph.node for a in node.attribute if a.name in {"to", "dtype"}):
            if attribute.i == _DOUBLE:
                attribute.i = _FLOAT
                changed += 1
    return changed


def require_weights(model: Any) -> None:
    """Raise GateFailed `no-op` where nothing in the graph multiplies with fixed weights."""
    for graph in onnx_file.graphs(model.graph):
        fixed = {tensor.name for tensor in graph.initializer}
        fixed |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
        if any(node.op_type in _WEIGHTED and fixed & set(node.input) for node in graph.node):
            return
    found = ", ".join(sorted(ops(model))[:6])
    raise GateFailed(GateCode.NO_OP, f"nothing to quantize: no MatMul, Gemm or Conv with fixed weights among {found}")


def upgraded(model: Any, opset: int) -> Any:
    """Return the model with at least this opset."""
    version = next((each.version for each in model.opset_import if each.domain in {"", "ai.onnx"}), opset)
    if version >= opset:
        return model
    try:
        return onnx.version_converter.convert_version(model, opset)
    except RuntimeError as exc:
        raise GateFailed(
            GateCode.CONVERSION_FAILED,
            f"opset {version} cannot be raised to {opset}; export with opset {onnx_file.OPSET}",
        ) from exc


def name_nodes(model: Any) -> None:
    """Give every node a name of its own in place: quantizers tell nodes by it."""
    seen: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{place}"
        seen.add(node.name)


def prepare(model: Any, plain: Path) -> None:
    """Write the graph as the quantizers want it: constants folded, shapes inferred."""
    source = plain.with_name("source.onnx")
    source.write_bytes(dump(model))
    # From a file: handed a model, it takes the weights out of it. Symbolic shapes would need sympy, and tell nothing
    # where all but the batch is fixed.
    quant_pre_process(source, plain, skip_symbolic_shape=True)
    prepared = onnx.load(plain)
    _flatten_biases(prepared.graph)
    plain.write_bytes(dump(prepared))


def _flatten_biases(graph: Any) -> None:
    """Give each Gemm its bias as [n], not [1, n], in place: per channel the quantizer fails on it (onnxruntime issue 24815)."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        bias = tensors.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        if bias is not None and len(bias.dims) == 2 and bias.dims[0] == 1:
            name = f"{bias.name}/{node.name}/flat"
            graph.initializer.append(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias)[0], name))
            node.input[2] = name
    used = {name for inner in onnx_file.graphs(graph) for node in inner.node for name in node.input}
    used |= {value.name for value in graph.output}
    left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)


def dump(model: Any) -> bytes:
    """Return the model's bytes, the same for the same model."""
    raw: bytes = model.SerializeToString(deterministic=True)
    return raw

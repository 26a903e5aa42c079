"""Weights as float16, widened when the model is loaded: half the bytes at the speed of float32.

Calculating in float16 too (onnxruntime.transformers.float16) gave magika 40 times the error at the same size and speed,
because the CPU's kernels widen to float32 anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from sprat.compiler.frontends import onnx
from sprat.compiler.schemes import onnx_source
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import Lowered, Work
from sprat.errors import GateFailed

_FEWEST: Final = 64
"""Smaller tensors stay: the node that widens one takes about as many bytes as it saves."""
_LARGEST: Final = float(np.finfo(np.float16).max)


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Store large weights by half, or say that there are none."""
    source = onnx_source.float32_graph(work, parts)
    narrowed = _narrow(source.model.graph)
    if not narrowed:
        raise GateFailed(GateCode.NO_OP, f"no weights of {_FEWEST} or more numbers that float16 can hold")
    return onnx.lowered(onnx_source.dump(source.model), {**source.options, "weights": "float16", "narrowed": narrowed})


def _narrow(graph: Any) -> int:
    """Replace weights in place by their half and a node that widens it; return how many."""
    widen = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims, dtype=np.int64) < _FEWEST:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > _LARGEST:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
        widen.append(helper.make_node("Cast", [tensor.name], [name], f"{name}/widen", to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*widen, *nodes])
    # Since file format 4 a weight need not be an input too; a widened one must not be.
    made = {node.output[0] for node in widen}
    inputs = [value for value in graph.input if value.name not in made]
    del graph.input[:]
    graph.input.extend(inputs)
    return len(widen)

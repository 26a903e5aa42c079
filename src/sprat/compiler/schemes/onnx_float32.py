"""A float64 graph in float32: half the bytes of its weights, and what small processors calculate with.

Gate A tells whether it may. Trees behind a scaler may not, whatever the test rows say: scaled in float32, a reading
near a threshold falls on its other side, and another answer comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sprat.compiler.frontends import onnx
from sprat.compiler.schemes import onnx_source
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import Lowered, Work
from sprat.errors import GateFailed

_EXACT: Final = frozenset(
    {"Cast", "Identity", "Concat", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Split", "Slice", "Gather",
     "ArrayFeatureExtractor", "OneHotEncoder", "LabelEncoder", "FeatureVectorizer", "Imputer", "Transpose"}
)  # fmt: skip
"""What hands readings on without calculating."""


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Narrow inputs, weights and casts, or say that there is nothing to narrow."""
    source = onnx_source.float_graph(work, parts)
    if column_maths := _before_trees(source.model.graph):
        raise GateFailed(
            GateCode.PARITY,
            f"trees stand behind {column_maths}: in float32 readings near a threshold fall on its other side",
        )
    if not onnx_source.to_float32(source.model):
        raise GateFailed(GateCode.NO_OP, "nothing in the graph is float64")
    return onnx.lowered(onnx_source.dump(source.model), {**source.options, "input": "float32", "from": "float64"})


def _before_trees(graph: Any) -> str:
    """Return the operator that calculates what a tree compares with its thresholds, or nothing."""
    made_by = {name: node for node in graph.node for name in node.output}
    waiting = [name for node in graph.node if node.op_type.startswith("TreeEnsemble") for name in node.input]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = made_by.get(name)
        if name in seen or node is None:
            continue
        seen.add(name)
        if node.op_type not in _EXACT:
            return str(node.op_type)
        waiting += node.input
    return ""

"""Writes ONNX nodes into skl2onnx's container, one call a node, and an isolation forest as one ensemble of trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from sklearn.ensemble._iforest import _average_path_length

Array = npt.NDArray[Any]
_LEAF: Final = -1


class Graph:
    """Nodes and constants by name; numbers are float64."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def __call__(self, op: str, *inputs: str, domain: str = "", version: int | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output: str = self._scope.get_unique_variable_name(op.lower())
        self._container.add_node(
            op, list(inputs), [output], name=self.name(op), op_domain=domain, op_version=version, **attributes
        )
        return output

    def pair(self, op: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        """Add a node with two outputs and return their names."""
        first, second = (str(self._scope.get_unique_variable_name(op.lower())) for _ in range(2))
        self._container.add_node(op, list(inputs), [first, second], name=self.name(op), **attributes)
        return first, second

    def name(self, what: str) -> str:
        """Return a node name that is not taken yet."""
        name: str = self._scope.get_unique_operator_name(what)
        return name

    def constant(self, values: Any) -> str:
        """Return float64 values, the last axis being columns."""
        return self._stored(np.asarray(values, np.float64), TensorProto.DOUBLE)

    def number(self, value: float) -> str:
        """Return one float64 value."""
        return self.constant([value])

    def whole(self, value: int) -> str:
        """Return one int64 value."""
        return self._stored(np.asarray([value], np.int64), TensorProto.INT64)

    def places(self, values: Sequence[int] | Array) -> str:
        """Return positions or axes, int64."""
        return self._stored(np.asarray(values, np.int64), TensorProto.INT64)

    def flags(self, values: Array) -> str:
        """Return truth values."""
        return self._stored(np.asarray(values, np.bool_), TensorProto.BOOL)

    def like(self, x: str, value: float) -> str:
        """Return a tensor of the shape of `x` that holds one value."""
        return self("Add", self("Sub", x, x), self.number(value))

    def joined(self, names: Sequence[str]) -> str:
        """Return several inputs as one table of columns."""
        return names[0] if len(names) == 1 else self("Concat", *names, axis=1)

    def _stored(self, values: Array, kind: int) -> str:
        name: str = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, list(values.shape), values.ravel().tolist())
        return name


def isolation_depths(g: Graph, x: str, forest: Any) -> tuple[str, float]:
    """Return the sum of the depths at which the trees isolate a row [rows, 1], and the sum that is expected of them."""
    columns: dict[str, list[Any]] = {key: [] for key in _TREE_ATTRIBUTES}
    for place, (tree, features) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        _add_tree(columns, place, tree.tree_, np.asarray(features))
    narrow = g("Cast", x, to=TensorProto.FLOAT)
    depths = g(
        "TreeEnsembleRegressor", narrow, domain="ai.onnx.ml", version=3, n_targets=1, aggregate_function="SUM",
        post_transform="NONE", **columns,
    )  # fmt: skip
    expected = len(forest.estimators_) * float(_average_path_length(np.array([forest._max_samples]))[0])
    return g("Cast", depths, to=TensorProto.DOUBLE), expected


_TREE_ATTRIBUTES: Final = (
    "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values", "nodes_truenodeids",
    "nodes_falsenodeids", "nodes_missing_value_tracks_true", "target_treeids", "target_nodeids", "target_ids",
    "target_weights",
)  # fmt: skip


def _add_tree(columns: dict[str, list[Any]], place: int, tree: Any, features: Array) -> None:
    """Append one tree: inner nodes with their thresholds, leaves with the depth that they stand for."""
    count = int(tree.node_count)
    leaf = tree.children_left == _LEAF
    depth = np.zeros(count)
    for node in range(count):  # a child comes after its parent
        if not leaf[node]:
            depth[tree.children_left[node]] = depth[tree.children_right[node]] = depth[node] + 1
    columns["nodes_treeids"] += [place] * count
    columns["nodes_nodeids"] += range(count)
    columns["nodes_featureids"] += np.where(leaf, 0, features[np.where(leaf, 0, tree.feature)]).tolist()
    columns["nodes_modes"] += np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
    columns["nodes_values"] += np.where(leaf, 0.0, _floor32(tree.threshold)).tolist()
    columns["nodes_truenodeids"] += np.where(leaf, 0, tree.children_left).tolist()
    columns["nodes_falsenodeids"] += np.where(leaf, 0, tree.children_right).tolist()
    columns["nodes_missing_value_tracks_true"] += [0] * count
    leaves = np.flatnonzero(leaf)
    # Rows that a leaf did not tell apart would have needed this many splits more on average.
    more = _average_path_length(tree.n_node_samples[leaves])
    columns["target_treeids"] += [place] * len(leaves)
    columns["target_nodeids"] += leaves.tolist()
    columns["target_ids"] += [0] * len(leaves)
    columns["target_weights"] += (depth[leaves] + more).tolist()


def _floor32(thresholds: Array) -> Array:
    """Return the largest float32 at or below each threshold: a float32 row is at most one exactly if at most the other."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)

"""Fewer or shallower trees, taken from a fitted ensemble: nothing is fitted again, so the same comes out each time.

The first trees of a boosting are what it was before the later ones were added; any trees of a forest are a forest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.tree._tree import TREE_LEAF, TREE_UNDEFINED, Tree

from sprat.compiler.frontends import sklearn_steps

Counts = tuple[int, int]


def fewer(model: Any, share: float) -> Counts:
    """Keep a share of each ensemble's trees, in place; return how many rounds or trees there were and are left."""
    before = after = 0
    for _place, step in sklearn_steps.steps(model):
        cut = _CUTS.get(_family(step))
        if cut is None:
            continue
        count = len(step._predictors if _family(step) == "hist" else step.estimators_)
        kept = max(1, math.ceil(count * share))
        cut(step, kept)
        before, after = before + count, after + kept
    return before, after


def shallower(model: Any, share: float) -> Counts:
    """Cut the trees of forests, and single ones, at a share of the deepest one's depth, in place; return both depths.

    A cut node answers with the mean of its rows. Boosted trees are left: in them the means of inner nodes are of another
    scale than the leaves' steps.
    """
    before = after = 0
    for _place, step in sklearn_steps.steps(model):
        trees = step.estimators_ if _family(step) == "forest" else [step] if hasattr(step, "tree_") else []
        if not trees:
            continue
        deepest = max(int(tree.tree_.max_depth) for tree in trees)
        depth = max(1, math.ceil(deepest * share))
        for tree in trees:
            tree.tree_ = _cut(tree.tree_, depth)
        before, after = max(before, deepest), max(after, depth)
    return before, after


def _family(step: Any) -> str:
    return _FAMILIES.get(type(step).__name__.removesuffix("Classifier").removesuffix("Regressor"), "")


def _cut(tree: Any, depth: int) -> Any:
    """Return a tree of at most this depth with the nodes that are left, numbered anew."""
    state = tree.__getstate__()
    nodes, values = state["nodes"], state["values"]
    kept, links = _walk(nodes, depth)
    left = nodes[kept].copy()
    for new, (a, b) in enumerate(links):
        left["left_child"][new], left["right_child"][new] = a, b
        if a == TREE_LEAF:
            left["feature"][new], left["threshold"][new] = TREE_UNDEFINED, TREE_UNDEFINED
    cut = Tree(tree.n_features, np.atleast_1d(np.asarray(tree.n_classes, np.intp)), tree.n_outputs)
    cut.__setstate__(
        {**state, "nodes": left, "values": values[kept].copy(), "node_count": len(kept),
         "max_depth": min(depth, int(state["max_depth"]))}
    )  # fmt: skip
    return cut


def _walk(nodes: npt.NDArray[Any], depth: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the old places of the nodes that are left, parents first, and the new places of their children."""
    kept: list[int] = []
    links: list[tuple[int, int]] = []
    waiting = [(0, 0, -1, 0)]
    while waiting:
        old, level, parent, side = waiting.pop()
        new = len(kept)
        kept.append(old)
        links.append((TREE_LEAF, TREE_LEAF))
        if parent >= 0:
            pair = links[parent]
            links[parent] = (new, pair[1]) if side == 0 else (pair[0], new)
        if level < depth and nodes["left_child"][old] != TREE_LEAF:
            waiting.append((int(nodes["right_child"][old]), level + 1, new, 1))
            waiting.append((int(nodes["left_child"][old]), level + 1, new, 0))
    return kept, links


def _cut_lists(*names: str) -> Callable[[Any, int], None]:
    def cut(step: Any, kept: int) -> None:
        for name in names:
            if (found := getattr(step, name, None)) is not None:
                setattr(step, name, found[:kept])
        for name in ("n_estimators", "n_estimators_"):
            if hasattr(step, name):
                setattr(step, name, kept)

    return cut


_FAMILIES: Final[Mapping[str, str]] = {
    "RandomForest": "forest", "ExtraTrees": "forest", "Bagging": "bagging", "IsolationForest": "isolation",
    "GradientBoosting": "boosting", "AdaBoost": "ada", "HistGradientBoosting": "hist",
}  # fmt: skip
_CUTS: Final[Mapping[str, Callable[[Any, int], None]]] = {
    "forest": _cut_lists("estimators_"),
    "bagging": _cut_lists("estimators_", "estimators_features_"),
    "isolation": _cut_lists(
        "estimators_", "estimators_features_", "_decision_path_lengths", "_average_path_length_per_tree"
    ),
    "boosting": _cut_lists("estimators_", "train_score_"),
    "ada": _cut_lists("estimators_", "estimator_weights_", "estimator_errors_"),
    "hist": _cut_lists("_predictors"),
}

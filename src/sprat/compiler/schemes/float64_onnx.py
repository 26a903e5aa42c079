"""A scikit-learn pipeline as one ONNX graph that takes the raw readings as float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import onnx as onnx_ir
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common._registration import get_converter
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

from sprat.compiler.frontends import (
    onnx,
    sklearn,
    sklearn_answers,
    sklearn_converters,
    sklearn_islands,
    sklearn_plain,
    sklearn_steps,
    sklearn_target,
)
from sprat.compiler.frontends.sklearn_answers import CENTRES, DECISION, DETECTOR
from sprat.compiler.proof import parity
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work
from sprat.errors import RecipeError

_OPSET: Final = 21
_SCORE: Final = "score"
_OWN: Final = (sklearn_islands, sklearn_converters, sklearn_target)
"""What is converted by functions of our own."""


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with float64 input, float32 islands where ONNX has no float64, and the answer as the only output."""
    return convert(sklearn.load(work), work, parts)


def convert(model: Any, work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert this fitted model."""
    sklearn_steps.require_convertible(model)
    kind = sklearn_answers.kind(model, work.task)
    train = parts()["train"]
    model = sklearn_plain.joined(model, list(train.inputs.values()))
    try:
        made = convert_sklearn(
            model, name=work.model, initial_types=_types(train),
            options=_options(model, kind), target_opset={"": _OPSET, "ai.onnx.ml": 3},
            custom_conversion_functions={key: value for room in _OWN for key, value in room.converters().items()},
            custom_shape_calculators={key: value for room in _OWN for key, value in room.shapes().items()},
        )  # fmt: skip
    except Exception as exc:
        # skl2onnx raises whatever its converters do: the step's name is what helps.
        raise RecipeError(sklearn_steps.describe(model, exc)) from exc
    graph = made.graph
    # Of label and scores only the scores stay: the highest is the label, and near-ties have one judge, not two.
    del graph.output[:-1]
    if kind in (DETECTOR, CENTRES):
        _as_score(graph, nearest=kind == CENTRES)
    if kind == DECISION:
        _rename_output(graph, DECISION)
    _prune(graph)
    _state_shape(graph.output[0], sklearn_answers.answer(model, train.table()[:1], work.task).shape[1])
    artifact = made.SerializeToString(deterministic=True)
    if work.missing:
        _require_same_gaps(artifact, model, work, train)
    facts = {"zipmap": False, "opset": _OPSET, "input": "float64", "answer": kind}
    return onnx.lowered(artifact, facts)


def _types(train: Part) -> list[tuple[str, Any]]:
    """Return an ONNX input for each of the recipe's: text as it is, every number as float64."""
    return [
        (
            name,
            (StringTensorType if array.dtype.kind == "U" else DoubleTensorType)([None, int(np.prod(array.shape[1:]))]),
        )
        for name, array in train.inputs.items()
    ]


def _require_same_gaps(artifact: bytes, model: Any, work: Work, train: Part) -> None:
    """Raise RecipeError unless the artifact answers missing values as the model does, column by column."""
    rows = sklearn.missing_probes(work, train)
    expected = sklearn.answering(model, work)(rows)
    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    fed, at = {}, 0
    for name, array in train.inputs.items():
        width = int(np.prod(array.shape[1:]))
        fed[name] = rows[:, at : at + width].astype(np.str_ if array.dtype.kind == "U" else np.float64)
        at += width
    found = np.asarray(session.run(None, fed)[-1], np.float64).reshape(expected.shape)
    verdict = parity.gate_a(expected, found, classification=work.task == "classification")
    if verdict.code is not None:
        raise RecipeError(
            f"missing values are answered otherwise in ONNX ({verdict.sentence}); fill them with a SimpleImputer"
        )


def _options(model: Any, kind: str) -> dict[int, dict[str, Any]] | None:
    """Return the options that this estimator knows: not every one takes zipmap (LinearSVC), nor raw scores."""
    last = sklearn_steps.final(model)
    alias = sklearn_operator_name_map.get(type(last))
    allowed = (get_converter(alias).get_allowed_options() if alias else None) or {}
    wanted = {"zipmap": False} | ({"raw_scores": True} if kind == DECISION else {})
    chosen = {key: value for key, value in wanted.items() if key in allowed}
    return {id(last): chosen} if chosen else None


def _as_score(graph: Any, *, nearest: bool) -> None:
    """End the graph in a score [rows, 1]: minus the detector's decision, or the distance to the nearest centre."""
    found = graph.output[0]
    kind = found.type.tensor_type.elem_type
    helper = onnx_ir.helper
    if nearest:
        axes = onnx_ir.numpy_helper.from_array(np.array([1], np.int64), "score_axes")
        graph.initializer.append(axes)
        graph.node.append(helper.make_node("ReduceMin", [found.name, axes.name], [_SCORE], keepdims=1))
    else:
        shape = onnx_ir.numpy_helper.from_array(np.array([-1, 1], np.int64), "score_shape")
        graph.initializer.append(shape)
        graph.node.append(helper.make_node("Reshape", [found.name, shape.name], ["score_column"]))
        graph.node.append(helper.make_node("Neg", ["score_column"], [_SCORE]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(_SCORE, kind, [None, 1]))


def _rename_output(graph: Any, name: str) -> None:
    """Name the output for what it is: every scheme that goes on from this graph keeps its name."""
    found = graph.output[0].name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name if one == found else one for one in names]
    graph.output[0].name = name


def _state_shape(output: Any, width: int) -> None:
    """Declare [rows, width]: some converters say one column whatever the model gives."""
    dimensions = output.type.tensor_type.shape.dim
    del dimensions[:]
    dimensions.add()
    dimensions.add().dim_value = width


def _prune(graph: Any) -> None:
    """Take off the nodes and constants that no output needs, such as a label's."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)

"""TransformedTargetRegressor as ONNX: the regressor inside, then the way back from the label that it learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.compose import TransformedTargetRegressor
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from sprat.compiler.frontends.sklearn_converters import COLUMN_MATHS
from sprat.compiler.frontends.sklearn_graph import Graph

REMEDY = (
    "its inverse_func must be one of numpy's that are converted, or its transformer a StandardScaler or MinMaxScaler; "
    "else transform the label in data(), and undo it where the answer is used"
)


def converters() -> dict[type, Callable[..., None]]:
    """Return the converter by the class of the step."""
    return {TransformedTargetRegressor: _convert}


def shapes() -> dict[type, Callable[..., None]]:
    """Return the shape rule by the class of the step."""
    return {TransformedTargetRegressor: _shape}


def remedy(step: Any) -> str:
    """Return what to use instead where the way back cannot be converted; the step may not be fitted yet."""
    if step.transformer is None:
        known = step.inverse_func is None or any(step.inverse_func is one for one in COLUMN_MATHS)
    else:
        known = isinstance(step.transformer, StandardScaler | MinMaxScaler)
    return "" if known else REMEDY


def _shape(operator: Any) -> None:
    # One value a row or several: the converter's outputs say it again when the graph is whole.
    operator.outputs[0].type = DoubleTensorType([None, None])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    step = operator.raw_operator
    inner = scope.declare_local_operator(sklearn_operator_name_map[type(step.regressor_)], step.regressor_)
    inner.inputs.extend(operator.inputs)
    learnt = scope.declare_local_variable("learnt", DoubleTensorType([None, None]))
    inner.outputs.append(learnt)
    graph = Graph(scope, container)
    answer = _back(graph, learnt.full_name, step.transformer_)
    container.add_node("Identity", [answer], [operator.outputs[0].full_name], name=graph.name("Identity"))


def _back(g: Graph, y: str, transformer: Any) -> str:
    match transformer:
        case FunctionTransformer(inverse_func=None):
            return y
        case FunctionTransformer():
            return COLUMN_MATHS[transformer.inverse_func](g, y)
        case StandardScaler():
            wide = g("Mul", y, g.constant(transformer.scale_)) if transformer.with_std else y
            return g("Add", wide, g.constant(transformer.mean_)) if transformer.with_mean else wide
        case _:
            return g("Div", g("Sub", y, g.constant(transformer.min_)), g.constant(transformer.scale_))

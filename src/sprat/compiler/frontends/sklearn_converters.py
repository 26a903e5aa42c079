"""Own converters to ONNX for steps that skl2onnx has not, or has in float32 alone.

Each works on float64 columns [rows, width] and follows scikit-learn's own formula, named where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, PowerTransformer, SplineTransformer

from sprat.compiler.frontends import sklearn_imputers
from sprat.compiler.frontends.sklearn_columns import Columns
from sprat.compiler.frontends.sklearn_graph import Graph, isolation_depths
from sprat.compiler.frontends.sklearn_splines import splines

Array = npt.NDArray[Any]

COLUMN_MATHS: Final[Mapping[Any, Callable[[Graph, str], str]]] = {
    np.log: lambda g, x: g("Log", x),
    np.log1p: lambda g, x: g("Log", g("Add", x, g.number(1.0))),
    np.log2: lambda g, x: g("Div", g("Log", x), g.number(np.log(2.0))),
    np.log10: lambda g, x: g("Div", g("Log", x), g.number(np.log(10.0))),
    np.exp: lambda g, x: g("Exp", x),
    np.expm1: lambda g, x: g("Sub", g("Exp", x), g.number(1.0)),
    np.sqrt: lambda g, x: g("Sqrt", x),
    np.square: lambda g, x: g("Mul", x, x),
    np.abs: lambda g, x: g("Abs", x),
    np.negative: lambda g, x: g("Neg", x),
    np.reciprocal: lambda g, x: g("Reciprocal", x),
    np.sin: lambda g, x: g("Sin", x),
    np.cos: lambda g, x: g("Cos", x),
    np.tanh: lambda g, x: g("Tanh", x),
}
"""What a FunctionTransformer may do to its columns."""


def converters() -> dict[type, Callable[..., None]]:
    """Return the converters by the class of the step."""
    return {kind: _converter(rule) for kind, rule in _RULES.items()}


def shapes() -> dict[type, Callable[..., None]]:
    """Return the shape rules by the class of the step: float64 throughout."""
    return dict.fromkeys(_RULES, _shape)


def _converter(rule: Callable[[Graph, str, Any], str]) -> Callable[..., None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        graph = Graph(scope, container)
        answer = rule(graph, graph.joined([one.full_name for one in operator.inputs]), operator.raw_operator)
        container.add_node("Identity", [answer], [operator.outputs[-1].full_name], name=graph.name("Identity"))
        if len(operator.outputs) == 2:  # an outlier detector has a label too: -1 where the decision is below zero
            low = graph("Cast", graph("Less", answer, graph.number(0.0)), to=TensorProto.INT64)
            label = graph("Sub", graph.whole(1), graph("Mul", low, graph.whole(2)))
            container.add_node("Identity", [label], [operator.outputs[0].full_name], name=graph.name("Identity"))

    return convert


def _shape(operator: Any) -> None:
    step = operator.raw_operator
    width = 1 if isinstance(step, IsolationForest | EllipticEnvelope) else _width(operator, step)
    operator.outputs[-1].type = DoubleTensorType([None, width])


def _width(operator: Any, step: Any) -> int:
    given = sum(one.type.shape[1] for one in operator.inputs)
    match step:
        case Columns():
            return len(step.places)
        case SplineTransformer():
            return int(step.n_features_out_)
        case PolynomialFeatures():
            return int(step.n_output_features_)
        case _ if type(step) in sklearn_imputers.RULES:
            return sklearn_imputers.width(step)
        case _:
            return int(given)


def _function(g: Graph, x: str, step: Any) -> str:
    return x if step.func is None else COLUMN_MATHS[step.func](g, x)


def _polynomial(g: Graph, x: str, step: Any) -> str:
    """Multiply, for each output, the columns that its powers name; a column of ones fills up lower degrees."""
    powers = np.asarray(step.powers_)
    degree = max(1, int(powers.sum(axis=1).max()))
    ones = powers.shape[1]
    factors = [[i for i, power in enumerate(row) for _ in range(power)] for row in powers]
    padded = np.array([row + [ones] * (degree - len(row)) for row in factors])
    first = g("Gather", x, g.places([0]), axis=1)
    wide = g("Concat", x, g("Add", g("Sub", first, first), g.number(1.0)), axis=1)
    product = g("Gather", wide, g.places(padded[:, 0]), axis=1)
    for k in range(1, degree):
        product = g("Mul", product, g("Gather", wide, g.places(padded[:, k]), axis=1))
    return product


def _power(g: Graph, x: str, step: Any) -> str:
    """Bend the columns, then give zero mean and unit variance: Yeo and Johnson, Biometrika 87 (2000), or Box and Cox, J. R. Stat. Soc. B 26 (1964)."""
    rate = np.asarray(step.lambdas_, np.float64)
    if step.method == "box-cox":
        made = _box_cox(g, x, rate)
    else:
        # Both halves are zero at zero, so their sum needs no case: one works on max(x, 0), the other on min(x, 0).
        above = _box_cox(g, g("Add", g("Max", x, g.number(0.0)), g.number(1.0)), rate)
        below = _box_cox(g, g("Sub", g.number(1.0), g("Min", x, g.number(0.0))), 2 - rate)
        made = g("Sub", above, below)
    if not step.standardize:
        return made
    scaler = step._scaler
    return g("Div", g("Sub", made, g.constant(scaler.mean_)), g.constant(scaler.scale_))


def _box_cox(g: Graph, x: str, rate: Array) -> str:
    """Give (x ** rate - 1) / rate, and the logarithm where the rate is zero."""
    flat = np.abs(rate) < np.spacing(1.0)
    safe = np.where(flat, 1.0, rate)
    bent = g("Div", g("Sub", g("Pow", x, g.constant(safe)), g.number(1.0)), g.constant(safe))
    return g("Where", g.flags(flat), g("Log", x), bent) if np.any(flat) else bent


def _envelope(g: Graph, x: str, step: Any) -> str:
    """Give the decision of a robust covariance: -(x - m)' P (x - m) - offset (Rousseeuw and Van Driessen, Technometrics 41, 1999)."""
    off = g("Sub", x, g.constant(step.location_))
    far = g("Mul", g("MatMul", off, g.constant(step.get_precision())), off)
    distance = g("ReduceSum", far, g.places([1]), keepdims=1)
    return g("Sub", g("Neg", distance), g.number(float(step.offset_)))


def _isolation(g: Graph, x: str, step: Any) -> str:
    """Give the decision of an isolation forest: -2 ** (-depth / expected depth) - offset (Liu, Ting and Zhou, ICDM 2008, eq. 2).

    One ensemble adds the depths of all trees, so that it loads in milliseconds; skl2onnx makes a graph of each tree.
    """
    depth, expected = isolation_depths(g, x, step)
    share = g("Div", depth, g.number(-expected)) if expected else g.like(depth, -1.0)
    return g("Sub", g("Neg", g("Pow", g.number(2.0), share)), g.number(float(step.offset_)))


_RULES: Final[Mapping[type, Callable[[Graph, str, Any], str]]] = {
    Columns: lambda g, x, step: g("Gather", x, g.places(step.places), axis=1),
    **sklearn_imputers.RULES,
    FunctionTransformer: _function,
    PolynomialFeatures: _polynomial,
    PowerTransformer: _power,
    SplineTransformer: splines,
    EllipticEnvelope: _envelope,
    IsolationForest: _isolation,
}

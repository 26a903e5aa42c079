"""SplineTransformer as ONNX: each basis spline is a polynomial between two knots, so a row looks up its own and evaluates it.

The polynomials come from the splines by their derivatives at the knots (de Boor, A Practical Guide to Splines, 2001, ch. X).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from scipy.interpolate import BSpline, PPoly  # type: ignore[import-untyped]

from sprat.compiler.frontends.sklearn_graph import Graph

EXTRAPOLATIONS: Final = ("constant", "continue")
"""What can be converted: beyond the outer knots the value there, or the outermost polynomial."""


def splines(g: Graph, x: str, step: Any) -> str:
    """Return the columns of all features' splines, feature after feature."""
    parts = [
        _feature(g, g("Gather", x, g.places([place]), axis=1), spline, step)
        for place, spline in enumerate(step.bsplines_)
    ]
    return parts[0] if len(parts) == 1 else g("Concat", *parts, axis=1)


def _feature(g: Graph, column: str, spline: Any, step: Any) -> str:
    knots, pieces = _pieces(spline)
    if not step.include_bias:
        pieces = pieces[:, :, :-1]
    if step.extrapolation == "constant":
        column = g("Min", g("Max", column, g.number(knots[0])), g.number(knots[-1]))
    # How many inner knots a value has passed is its interval.
    passed = g("Cast", g("GreaterOrEqual", column, g.constant(knots[1:-1])), to=TensorProto.INT64)
    at = g("ReduceSum", passed, g.places([1]), keepdims=0)
    step_in = g("Sub", column, g("Unsqueeze", g("Gather", g.constant(knots[:-1]), at), g.places([1])))
    total = g("Gather", g.constant(pieces[0]), at, axis=0)
    for coefficients in pieces[1:]:  # Horner's rule, the highest power first
        total = g("Add", g("Mul", total, step_in), g("Gather", g.constant(coefficients), at, axis=0))
    return total


def _pieces(spline: BSpline) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the knots of the base interval and the coefficients [power, interval, spline], the highest power first."""
    inside = slice(spline.k, len(spline.t) - spline.k)
    knots = np.asarray(spline.t[inside], np.float64)
    count = spline.c.shape[1]
    pieces = [PPoly.from_spline(BSpline(spline.t, spline.c[:, i], spline.k)).c for i in range(count)]
    return knots, np.stack(pieces, axis=2)[:, spline.k : spline.k + len(knots) - 1]

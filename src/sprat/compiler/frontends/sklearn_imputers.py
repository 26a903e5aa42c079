"""Imputers as ONNX, in float64: constants, the nearest training rows, or rounds of linear models.

Each follows scikit-learn's own steps on one row: what stands beside it in a batch plays no part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from sklearn.impute import KNNImputer, SimpleImputer

# Not by `sklearn.experimental`: that would switch it on for the user's own code too.
from sklearn.impute._iterative import IterativeImputer

from sprat.compiler.frontends.sklearn_graph import Graph

Array = npt.NDArray[Any]
_FAR: Final = 1e38
"""Farther than any row: of one that has no value in common with the reading."""


def width(step: Any) -> int:
    """Return how many columns an imputer gives on."""
    extra = len(step.indicator_.features_) if step.add_indicator else 0
    return int(np.sum(_kept(step))) + extra


def unlike(step: Any) -> str:
    """Return what to change where an imputer does what has no place in a graph; nothing where it can be converted."""
    if isinstance(step, KNNImputer) and (callable(step.weights) or step.metric != "nan_euclidean"):
        return 'use weights="uniform" or "distance" and the default metric'
    if isinstance(step, IterativeImputer):
        if step.sample_posterior:
            return "leave sample_posterior out: it draws another value each time"
        if not all(_is_linear(one.estimator) for one in getattr(step, "imputation_sequence_", ())):
            return "use its default estimator, or another linear one"
    return ""


def _is_linear(estimator: Any) -> bool:
    weights: Any = getattr(estimator, "coef_", ())
    return type(estimator).__module__.startswith("sklearn.linear_model.") and np.asarray(weights).ndim == 1


def _kept(step: Any) -> npt.NDArray[np.bool_]:
    """Return which columns an imputer gives on: one without any value in training is left out."""
    match step:
        case KNNImputer():
            full = np.asarray(step._valid_mask, np.bool_)
        case IterativeImputer():
            full = ~np.asarray(step._is_empty_feature, np.bool_)
        case _:
            full = ~np.isnan(np.asarray(step.statistics_, np.float64))
    return np.ones_like(full) if step.keep_empty_features else full


def _gaps(g: Graph, x: str, step: Any) -> str:
    marker = step.missing_values
    return g("IsNaN", x) if np.isnan(marker) else g("Equal", x, g.number(float(marker)))


def _indicated(g: Graph, filled: str, gaps: str, step: Any) -> str:
    """Add the columns that say where values were missing, where they are asked for."""
    if not step.add_indicator:
        return filled
    shown = g("Gather", gaps, g.places(step.indicator_.features_), axis=1)
    return g("Concat", filled, g("Cast", shown, to=TensorProto.DOUBLE), axis=1)


def _constant(g: Graph, x: str, step: Any) -> str:
    gaps = _gaps(g, x, step)
    fill = np.nan_to_num(np.asarray(step.statistics_, np.float64))
    filled = g("Where", gaps, g.constant(fill), x)
    if not np.all(kept := _kept(step)):
        filled = g("Gather", filled, g.places(np.flatnonzero(kept)), axis=1)
    return _indicated(g, filled, gaps, step)


def _nearest(g: Graph, x: str, step: Any) -> str:
    """Fill each column with the mean of the nearest training rows that have it (Troyanskaya et al., Bioinformatics 17, 2001)."""
    gaps = _gaps(g, x, step)
    away = _distances(g, g("Where", gaps, g.number(0.0), x), gaps, step)
    columns = []
    for place in np.flatnonzero(_kept(step)).tolist():
        missing = g("Gather", gaps, g.places([place]), axis=1)
        if step._valid_mask[place]:
            column = g("Gather", x, g.places([place]), axis=1)
            columns.append(g("Where", missing, _mean_of_nearest(g, away, place, step), column))
        else:  # nothing was ever known of it: zeros
            columns.append(g("Mul", g("Cast", missing, to=TensorProto.DOUBLE), g.number(0.0)))
    return _indicated(g, g("Concat", *columns, axis=1), gaps, step)


def _distances(g: Graph, known: str, gaps: str, step: Any) -> str:
    """Return the distance to each training row over the columns that both have, scaled up to all columns; `_FAR` for none.

    sqrt(columns / shared * sum over shared of (x - y)^2): Dixon, IEEE Transactions on Systems, Man and Cybernetics 9, 1979.
    """
    fit_gaps = np.asarray(step._mask_fit_X, np.bool_)
    fit = np.where(fit_gaps, 0.0, step._fit_X)
    has = g("Cast", g("Not", gaps), to=TensorProto.DOUBLE)
    weight = g("Mul", g("Unsqueeze", has, g.places([1])), g.constant((~fit_gaps)[None].astype(np.float64)))
    off = g("Sub", g("Unsqueeze", known, g.places([1])), g.constant(fit[None]))
    total = g("ReduceSum", g("Mul", g("Mul", off, off), weight), g.places([2]), keepdims=0)
    shared = g("ReduceSum", weight, g.places([2]), keepdims=0)
    scaled = g("Sqrt", g("Mul", g("Div", total, g("Max", shared, g.number(1.0))), g.number(float(fit.shape[1]))))
    return g("Where", g("Greater", shared, g.number(0.0)), scaled, g.number(_FAR))


def _mean_of_nearest(g: Graph, away: str, place: int, step: Any) -> str:
    """Return [rows, 1]: the weighted mean of a column's nearest donors, its mean in training where there is none."""
    donors = np.flatnonzero(~np.asarray(step._mask_fit_X, np.bool_)[:, place])
    values = np.asarray(step._fit_X, np.float64)[donors, place]
    count = min(step.n_neighbors, len(donors))
    mine = g("Gather", away, g.places(donors), axis=1) if len(donors) < len(step._fit_X) else away
    near, which = g.pair("TopK", mine, g.places([count]), axis=1, largest=0, sorted=1)
    real = g("Cast", g("Less", near, g.number(_FAR / 2)), to=TensorProto.DOUBLE)
    weight = real if step.weights == "uniform" else _by_distance(g, near, real)
    total = g("ReduceSum", g("Mul", g("Gather", g.constant(values), which), weight), g.places([1]), keepdims=1)
    mass = g("ReduceSum", weight, g.places([1]), keepdims=1)
    some = g("Greater", mass, g.number(0.0))
    mean = g("Div", total, g("Where", some, mass, g.number(1.0)))
    return g("Where", some, mean, g.number(float(values.mean())))


def _by_distance(g: Graph, near: str, real: str) -> str:
    """Return the reciprocals; where a distance is 0, 1 for each such row and 0 for the others, as scikit-learn has it."""
    same = g("Equal", near, g.number(0.0))
    ones = g("Cast", same, to=TensorProto.DOUBLE)
    reciprocal = g("Mul", g("Div", g.number(1.0), g("Where", same, g.number(1.0), near)), real)
    met = g("Greater", g("ReduceMax", ones, g.places([1]), keepdims=1), g.number(0.5))
    return g("Where", met, ones, reciprocal)


def _rounds(g: Graph, x: str, step: Any) -> str:
    """Fill by constants, then predict each column from the others in the rounds of the fit (van Buuren, J. Stat. Softw. 45(3), 2011).

    A reading without any value is filled by the rounds too; scikit-learn does so in a batch, but not where it stands alone.
    """
    gaps = _gaps(g, x, step)
    initial = step.initial_imputer_
    filled = _constant(g, x, initial)
    kept = np.flatnonzero(_kept(step))
    mine = gaps if len(kept) == step.n_features_in_ else g("Gather", gaps, g.places(kept), axis=1)
    empty = np.asarray(step._is_empty_feature, np.bool_)[kept]
    for one in step.imputation_sequence_:
        weights = np.zeros((len(kept), 1))
        weights[np.asarray(one.neighbor_feat_idx), 0] = one.estimator.coef_
        guess = g("Add", g("MatMul", filled, g.constant(weights)), g.number(float(one.estimator.intercept_)))
        low, high = step._min_value[one.feat_idx], step._max_value[one.feat_idx]
        guess = g("Min", g("Max", guess, g.number(float(low))), g.number(float(high)))
        here = np.zeros(len(kept), np.bool_)
        here[one.feat_idx] = not empty[one.feat_idx]
        filled = g("Where", g("And", mine, g.flags(here)), guess, filled)
    return _indicated(g, filled, gaps, step)


RULES: Final[Mapping[type, Callable[[Graph, str, Any], str]]] = {
    SimpleImputer: _constant,
    KNNImputer: _nearest,
    IterativeImputer: _rounds,
}

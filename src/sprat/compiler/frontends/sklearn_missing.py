"""Missing values: a model may be fed NaN only where it fills them, and its artifact must answer them as it does.

Trees of scikit-learn take NaN and send it down a learnt side; in ONNX it always goes one way, without a word. So NaN
must be filled before it reaches them. HistGradientBoosting keeps its sides in ONNX too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import FeatureUnion, Pipeline

from sprat.compiler.frontends import sklearn_steps
from sprat.errors import RecipeError

Rows = npt.NDArray[Any]

_FILLS: Final = frozenset({"SimpleImputer", "KNNImputer", "IterativeImputer", "OneHotEncoder", "OrdinalEncoder"})
"""Steps that give no NaN on: an encoder makes a category of it, or refuses it in research already."""
_TREES: Final = ("sklearn.tree", "sklearn.ensemble._forest", "sklearn.ensemble._gb", "sklearn.ensemble._iforest")
_REMEDY: Final = 'put a SimpleImputer before it, use HistGradientBoosting, or take missing = "keep" out of the recipe'
_PROBED: Final = 16


def require_filled(model: Any) -> None:
    """Raise RecipeError where a tree could be fed NaN."""
    if tree := _reached(model):
        raise RecipeError(f"missing values reach {tree}, which answers them otherwise in ONNX; {_REMEDY}")


def probes(rows: Rows, columns: list[int]) -> Rows:
    """Return some rows once for each of the columns, with NaN there, and once with NaN in all of them."""
    some = rows[:: max(1, len(rows) // _PROBED)][:_PROBED]
    made = []
    for gaps in [*([column] for column in columns), columns]:
        holed = some.copy()
        holed[:, gaps] = np.nan
        made.append(holed)
    return np.concatenate(made)


def require_answers(answer: Callable[[Rows], Rows], rows: Rows) -> Rows:
    """Return a model's answers to probes, or raise RecipeError where NaN is an error or gives no number."""
    try:
        said = answer(rows)
    except ValueError as exc:
        step = " ".join(str(exc).split())[:120]
        raise RecipeError(f"the model does not fill missing values ({step}); {_REMEDY}") from exc
    if not np.all(np.isfinite(said)):
        raise RecipeError(f"the model answers a missing value with a number that is not finite; {_REMEDY}")
    return said


def _reached(model: Any, place: str = "") -> str:
    """Return the first tree that NaN can reach, or nothing."""
    if isinstance(model, Pipeline):
        for name, step in model.steps:
            if found := _reached(step, f"{place}/{name}" if place else name):
                return found
            if _fills(step):
                return ""
        return ""
    kind = type(model)
    if any(kind.__module__.startswith(family) for family in _TREES):
        return f"step {place!r} ({kind.__name__})" if place else f"the model ({kind.__name__})"
    children = sklearn_steps.children(model)
    return next((found for name, child in children if (found := _reached(child, f"{place}/{name}".strip("/")))), "")


def _fills(step: Any) -> bool:
    if isinstance(step, Pipeline):
        return any(_fills(inner) for _name, inner in step.steps)
    if isinstance(step, FeatureUnion):
        return all(_fills(inner) for _name, inner in step.transformer_list)
    if hasattr(step, "transformers_"):
        # A column that is dropped gives nothing on; one that is passed through gives on what it has.
        return all(
            inner == "drop" or (not isinstance(inner, str) and _fills(inner)) for _n, inner, _c in step.transformers_
        )
    return type(step).__name__ in _FILLS

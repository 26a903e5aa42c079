"""Walks the steps of a fitted scikit-learn model, and names the one that cannot become ONNX with what to use instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from sprat.compiler.frontends import sklearn_remedies as remedies
from sprat.errors import RecipeError

Step = tuple[str, Any]

_CHILDREN: Final = (
    "best_estimator_", "estimator_", "estimators_", "final_estimator_", "calibrated_classifiers_", "estimator",
    "regressor_",
)  # fmt: skip
"""Where fitted composites keep what they are made of."""


def steps(model: Any, place: str = "") -> Iterator[Step]:
    """Yield every estimator inside a model with its place, such as `columns/number/scale`; the model itself first."""
    yield place, model
    for name, child in children(model):
        if isinstance(child, BaseEstimator) or hasattr(child, "estimator"):
            yield from steps(child, f"{place}/{name}" if place else name)


def final(model: Any) -> Any:
    """Return the estimator that answers: the last step of a pipeline, the best of a search."""
    while True:
        if isinstance(model, Pipeline):
            model = model.steps[-1][1]
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        else:
            return model


def require_convertible(model: Any) -> None:
    """Raise RecipeError for the first step that has no way to ONNX."""
    for place, step in steps(model):
        if isinstance(step, BaseEstimator) and (remedy := remedies.remedy(step)):
            raise RecipeError(f"{_named(place, step)} has no way to ONNX as it is; {remedy}")


def _named(place: str, step: Any) -> str:
    kind = type(step).__name__
    return f"step {place!r} ({kind})" if place else f"the model ({kind})"


def describe(model: Any, error: Exception) -> str:
    """Return which step a converter's error is about: the last one that it names, or the whole model."""
    said = " ".join(str(error).split())[:200]
    named = [(place, step) for place, step in steps(model) if type(step).__name__ in said]
    place, step = named[-1] if named else ("", model)
    return f"{_named(place, step)} cannot be converted to ONNX as it is ({said})"


def children(model: Any) -> Iterator[Step]:
    """Yield the fitted estimators that a composite is made of, each with the name of its place."""
    if isinstance(model, Pipeline):
        yield from ((name, step) for name, step in model.steps if step not in (None, "passthrough"))
        return
    if hasattr(model, "transformers_"):
        yield from ((name, step) for name, step, _columns in model.transformers_ if not isinstance(step, str))
        return
    if hasattr(model, "transformer_list"):
        yield from ((name, step) for name, step in model.transformer_list if not isinstance(step, str))
        return
    if hasattr(model, "tree_") or _is_forest(model) or hasattr(model, "get_support"):
        return  # trees are converted as a whole, and of a selection only which columns it keeps
    for attribute in _CHILDREN:
        found = getattr(model, attribute, None)
        for child in found if isinstance(found, list | tuple) else (found,):
            if child is not None and not isinstance(child, str):
                yield type(child).__name__.lower(), child


def _is_forest(model: Any) -> bool:
    return "sklearn.ensemble._forest" in type(model).__module__ or type(model).__name__ == "IsolationForest"

"""Walks the steps of a fitted scikit-learn model, and names the one that cannot become ONNX with what to use instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from skl2onnx import supported_converters
from skl2onnx._supported_operators import sklearn_operator_name_map
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from sprat.compiler.frontends import sklearn_converters
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
        if isinstance(step, BaseEstimator) and (remedy := _remedy(step)):
            raise RecipeError(f"{_named(place, step)} has no way to ONNX; {remedy}")


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


def _remedy(step: Any) -> str:
    """Return what to use instead of a step that cannot be converted, or nothing."""
    name = type(step).__name__
    settings = step.get_params(deep=False)
    for kind, setting, values, remedy in _SETTINGS:
        if name.startswith(kind) and settings.get(setting) in values:
            return remedy
    if name == "FunctionTransformer":
        known = {None, *sklearn_converters.COLUMN_MATHS}
        if settings["func"] not in known or settings["kw_args"]:
            return f"its function must be one of {', '.join(f'numpy.{func.__name__}' for func in known if func)}"
        return ""
    if name in _INSTEAD:
        return _INSTEAD[name]
    if type(step) in sklearn_operator_name_map or type(step) in sklearn_converters.converters():
        return ""
    return f"choose one of the {len(supported_converters())} that skl2onnx converts, or do this step before the recipe's data"


_INSTEAD: Final = {
    "SplineTransformer": "use PolynomialFeatures or KBinsDiscretizer",
    "IterativeImputer": "use SimpleImputer",
    "KNNImputer": "use SimpleImputer",
    "RegressorChain": "use MultiOutputRegressor",
    "ClassifierChain": "build one recipe for each label",
    "MultiOutputClassifier": "build one recipe for each label",
    "TransformedTargetRegressor": "transform the label in data(), and undo it where the answer is used",
    "EmpiricalCovariance": "use EllipticEnvelope",
    "DBSCAN": "it cannot judge new rows; use KMeans or LocalOutlierFactor(novelty=True)",
}
_SETTINGS: Final = (
    ("QuantileTransformer", "output_distribution", ("normal",), 'use output_distribution="uniform" or PowerTransformer'),
    ("VotingClassifier", "voting", ("hard",), 'use voting="soft", which gives a probability for each class'),
    (
        "KNeighbors", "weights", ("distance",),
        'use weights="uniform": by distance, a reading that equals a training row is answered differently in ONNX',
    ),
    ("LocalOutlierFactor", "novelty", (False,), "use novelty=True, else it judges only the rows that it was fitted on"),
)  # fmt: skip

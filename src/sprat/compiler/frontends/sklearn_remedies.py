"""What to use instead of a step that has no way to ONNX, or that would answer otherwise there without a word.

A remedy is looked up by the step's class and settings, so it is known before anything is converted.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from skl2onnx import supported_converters
from skl2onnx._supported_operators import sklearn_operator_name_map

from sprat.compiler.frontends import sklearn_converters, sklearn_imputers, sklearn_target


def remedy(step: Any) -> str:
    """Return what to use instead of this step, or nothing where it can be converted."""
    looked_up = (_by_setting(step), _by_function(step), _by_what_it_learnt(step), INSTEAD.get(type(step).__name__, ""))
    return next((found for found in looked_up if found), _where_unknown(step))


def _by_setting(step: Any) -> str:
    settings = step.get_params(deep=False)
    for kind, setting, values, instead in SETTINGS:
        if type(step).__name__.startswith(kind) and settings.get(setting) in values:
            return instead
    return ""


def _by_function(step: Any) -> str:
    if type(step).__name__ != "FunctionTransformer" or (_is_known(step.func) and not step.kw_args):
        return ""
    names = ", ".join(f"numpy.{func.__name__}" for func in sklearn_converters.COLUMN_MATHS)
    return f"its function must be one of {names}"


def _is_known(function: Any) -> bool:
    return function is None or any(function is known for known in sklearn_converters.COLUMN_MATHS)


def _by_what_it_learnt(step: Any) -> str:
    if np.any(getattr(step, "is_categorical_", None)):
        return "it answers categories otherwise in ONNX; put an OrdinalEncoder or OneHotEncoder before it"
    if type(step).__name__ == "OneVsRestClassifier" and not hasattr(step, "predict_proba"):
        return f"use {type(step.estimator).__name__} alone, which tells several classes apart by itself"
    if type(step) in sklearn_imputers.RULES:
        return sklearn_imputers.unlike(step)
    return sklearn_target.remedy(step) if type(step).__name__ == "TransformedTargetRegressor" else ""


def _where_unknown(step: Any) -> str:
    if type(step) in sklearn_operator_name_map or type(step) in {
        **sklearn_converters.converters(),
        **sklearn_target.converters(),
    }:
        return ""
    count = len(supported_converters())
    return f"choose one of the {count} estimators that skl2onnx converts, or do this step before the recipe's data"


INSTEAD: Final = {
    "RegressorChain": "use MultiOutputRegressor",
    "ClassifierChain": "build one recipe for each label",
    "MultiOutputClassifier": "build one recipe for each label",
    "RadiusNeighborsClassifier": "use KNeighborsClassifier",
    "RadiusNeighborsRegressor": "use KNeighborsRegressor",
    "DBSCAN": "it cannot judge new rows; use KMeans or LocalOutlierFactor(novelty=True)",
}
SETTINGS: Final = (
    ("SplineTransformer", "extrapolation", ("linear", "periodic", "error"), 'use extrapolation="constant" or "continue"'),
    ("SplineTransformer", "handle_missing", ("zeros",), "put a SimpleImputer before it"),
    ("SplineTransformer", "sparse_output", (True,), "leave sparse_output out"),
    ("QuantileTransformer", "output_distribution", ("normal",), 'use output_distribution="uniform" or PowerTransformer'),
    ("VotingClassifier", "voting", ("hard",), 'use voting="soft", which gives a probability for each class'),
    ("GradientBoosting", "init", ("zero",), "leave init out"),
    ("HistGradientBoosting", "loss", ("poisson", "gamma"), 'use loss="squared_error" on the logarithm of the label'),
    (
        "CalibratedClassifierCV", "method", ("isotonic",),
        'use method="sigmoid": the steps of an isotonic one stand right at the scores of the training rows',
    ),
    (
        "KNeighbors", "weights", ("distance",),
        'use weights="uniform": by distance, a reading that equals a training row is answered differently in ONNX',
    ),
    ("LocalOutlierFactor", "novelty", (False,), "use novelty=True, else it judges only the rows that it was fitted on"),
)  # fmt: skip

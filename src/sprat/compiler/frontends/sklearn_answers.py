"""What a scikit-learn model answers, as one float64 table whose columns the bundle's output has too.

| task | answer |
| --- | --- |
| classification | class probabilities; without predict_proba the decision scores, of two classes as [-score, score] |
| regression | values [rows, outputs] |
| anomaly | a score [rows, 1], higher is more unusual: minus the decision of an outlier detector, or the distance to the nearest centre |
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.base import is_classifier, is_outlier_detector

from sprat.compiler.frontends.sklearn_steps import final
from sprat.errors import RecipeError

Rows = npt.NDArray[Any]

PROBABILITIES: Final = "probabilities"
DECISION: Final = "decision"
VALUES: Final = "values"
DETECTOR: Final = "detector"
CENTRES: Final = "centres"


def kind(model: Any, task: str) -> str:
    """Return how a model answers for a task, or raise RecipeError where it cannot."""
    last = final(model)
    name = type(last).__name__
    match task:
        case "classification":
            if is_classifier(model) and hasattr(model, "predict_proba"):
                return PROBABILITIES
            if is_classifier(model) and hasattr(model, "decision_function"):
                return DECISION
            raise RecipeError(
                f"{name} gives neither probabilities nor decision scores, which task = {task!r} needs; "
                "choose a classifier that does"
            )
        case "anomaly":
            if is_outlier_detector(model):
                return DETECTOR
            if hasattr(last, "cluster_centers_") and hasattr(model, "transform"):
                return CENTRES
            raise RecipeError(
                f"{name} gives no anomaly score; task = {task!r} needs IsolationForest, OneClassSVM, "
                "LocalOutlierFactor(novelty=True), EllipticEnvelope or KMeans"
            )
        case _:
            if is_classifier(model) or not hasattr(model, "predict"):
                raise RecipeError(f"{name} gives no values, which task = {task!r} needs; choose a regressor")
            return VALUES


def answer(model: Any, rows: Rows, task: str) -> Rows:
    """Return the research model's answers to rows, float64 [rows, width]."""
    match kind(model, task):
        case "probabilities":
            said = model.predict_proba(rows)
            if isinstance(said, list):
                raise RecipeError(
                    f"{type(final(model)).__name__} tells {len(said)} labels at once; make one recipe each"
                )
            return np.asarray(said, np.float64)
        case "decision":
            scores = np.asarray(model.decision_function(rows), np.float64)
            if scores.ndim == 2 and scores.shape[1] != len(model.classes_):
                raise RecipeError(f'{type(final(model)).__name__}: use decision_function_shape="ovr", a score a class')
            return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
        case "detector":
            return -np.asarray(model.decision_function(rows), np.float64).reshape(-1, 1)
        case "centres":
            distances: Rows = np.asarray(model.transform(rows), np.float64)
            nearest: Rows = distances.min(axis=1, keepdims=True)
            return nearest
        case _:
            return np.asarray(model.predict(rows), np.float64).reshape(len(rows), -1)


def require_classes(labels: Rows) -> None:
    """Raise RecipeError unless the training rows hold two classes at least, and every position up to the highest."""
    found = np.unique(labels)
    if len(found) < 2:
        raise RecipeError(
            f"labels: all {len(labels)} training rows are of class {int(found[0])}, expected at least two classes"
        )
    missing = np.setdiff1d(np.arange(found[-1] + 1), found)
    if len(missing):
        raise RecipeError(
            f"labels: no training row is of class {int(missing[0])}; bring rows of it, or take it off `labels`"
        )

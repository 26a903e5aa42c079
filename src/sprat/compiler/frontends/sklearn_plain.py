"""Brings a fitted model into the form that skl2onnx reads, without changing an answer.

Searches become what they found, selections become the columns that they keep, masks become positions; settings that
shape only what `transform` looks like are set to what the converter knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_selection import RFE, RFECV
from sklearn.pipeline import Pipeline

from sprat.compiler.frontends import sklearn_steps
from sprat.compiler.frontends.sklearn_columns import Columns


def joined(model: Any, inputs: Sequence[npt.NDArray[Any]]) -> Any:
    """Return the model with several inputs of numbers put side by side before it; text needs a ColumnTransformer."""
    if len(inputs) < 2 or any(array.dtype.kind == "U" for array in inputs):
        return model
    width = sum(int(np.prod(array.shape[1:])) for array in inputs)
    return Pipeline([("side by side", Columns(np.arange(width))), ("model", model)])


def plain(model: Any) -> Any:
    """Return the model in plain form; what it is made of is changed in place."""
    model = itself(model)
    for _place, step in list(sklearn_steps.steps(model)):
        _settings(step)
        if isinstance(step, Pipeline):
            step.steps = [(name, itself(inner)) for name, inner in step.steps]
        if hasattr(step, "transformers_"):
            step.transformers_ = [(name, itself(inner), _positions(at)) for name, inner, at in step.transformers_]
        if hasattr(step, "transformer_list"):
            step.transformer_list = [(name, itself(inner)) for name, inner in step.transformer_list]
    return model


def itself(step: Any) -> Any:
    """Return what stands for a step in the graph."""
    if hasattr(step, "best_estimator_"):
        return itself(step.best_estimator_)
    if isinstance(step, RFE | RFECV):  # skl2onnx takes one around a classifier for a classifier
        return Columns(np.flatnonzero(step.get_support()))
    return step


def _settings(step: Any) -> None:
    if hasattr(step, "flatten_transform"):
        # It shapes what transform() gives, which the answer does not use, and skl2onnx refuses it.
        step.flatten_transform = False
    if isinstance(getattr(step, "weights", None), list):
        step.weights = np.asarray(step.weights)
    if type(step).__name__ == "KBinsDiscretizer" and step.encode == "onehot":
        step.encode, step._encoder.sparse_output = "onehot-dense", False


def _positions(columns: Any) -> Any:
    """Return positions for a mask of columns; anything else as it is."""
    mask = np.asarray(columns) if isinstance(columns, list | np.ndarray) else None
    return np.flatnonzero(mask).tolist() if mask is not None and mask.dtype == np.bool_ else columns

"""scikit-learn: trains by the recipe's factory and keeps the whole pipeline, so that the artifact is fed raw readings.

Trees cast to float32 themselves; behind a scaler that runs in float32 their thresholds flip rows. So the graph
takes float64, scales in float64 and casts right before the trees, as scikit-learn does.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from skl2onnx.sklapi import CastTransformer
from sklearn.pipeline import Pipeline

from sprat.compiler import factory
from sprat.compiler.factory import Part
from sprat.compiler.work import PICKLE, Work
from sprat.errors import RecipeError

_TREES: Final = ("tree", "forest", "boosting")


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, npt.NDArray[Any]]:
    """Train and answer every part with probabilities or values as float64."""
    if len(work.input_names) != 1:
        raise RecipeError(f"scikit-learn takes one input table, the recipe names {', '.join(work.input_names)}")
    np.random.seed(work.seed)
    model = factory.load(Path(work.factory), "model")(
        parts["train"], parts["validation"], seed=work.seed, **work.parameters
    )
    if not hasattr(model, "predict"):
        raise RecipeError(f"factory {work.factory}: model() gave {type(model).__name__}, expected a fitted estimator")
    (work.path / PICKLE).write_bytes(pickle.dumps(model))
    (name,) = work.input_names
    return {key: _answer(model, np.asarray(part.inputs[name], np.float64), work) for key, part in parts.items()}


def source_digest(work: Work) -> str:
    """Return the SHA-256 of the pickled estimator."""
    return hashlib.sha256((work.path / PICKLE).read_bytes()).hexdigest()


def load(work: Work) -> Any:
    """Read back the estimator that `make` wrote in this build's own folder, ready for conversion."""
    model = pickle.loads((work.path / PICKLE).read_bytes())  # noqa: S301 - our own file of this very build
    return _with_cast(model)


def _with_cast(model: Any) -> Any:

    if not isinstance(model, Pipeline) or not any(
        word in type(model.steps[-1][1]).__module__ + type(model.steps[-1][1]).__name__.lower() for word in _TREES
    ):
        return model
    cast = CastTransformer(dtype=np.float32).fit(np.zeros((1, 1)))
    return Pipeline([*model.steps[:-1], ("float32_as_the_trees_do", cast), model.steps[-1]])


def _answer(model: Any, rows: npt.NDArray[Any], work: Work) -> npt.NDArray[Any]:
    if work.task == "classification":
        if not hasattr(model, "predict_proba"):
            raise RecipeError(f"{type(model).__name__} has no predict_proba; calibrate it or choose another estimator")
        return np.asarray(model.predict_proba(rows), np.float64)
    return np.asarray(model.predict(rows), np.float64).reshape(len(rows), -1)

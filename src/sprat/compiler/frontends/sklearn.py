"""scikit-learn: trains by the recipe's factory and keeps the whole pipeline, so that the artifact is fed raw readings.

The answers are those of `sklearn_answers`; what becomes of each step in ONNX stands in `sklearn_converters` and
`sklearn_islands`, and which step cannot in `sklearn_steps`.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat.compiler import factory
from sprat.compiler.factory import Part
from sprat.compiler.frontends import sklearn_answers, sklearn_missing, sklearn_steps
from sprat.compiler.work import PICKLE, Work
from sprat.errors import RecipeError


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, npt.NDArray[Any]]:
    """Train and answer every part with probabilities or values as float64."""
    if work.task == "classification":
        sklearn_answers.require_classes(parts["train"].labels)
    np.random.seed(work.seed)
    model = factory.load(Path(work.factory), "model")(
        parts["train"], parts["validation"], seed=work.seed, **work.parameters
    )
    if not hasattr(model, "predict"):
        raise RecipeError(f"factory {work.factory}: model() gave {type(model).__name__}, expected a fitted estimator")
    sklearn_steps.require_convertible(model)
    if work.missing:
        sklearn_missing.require_filled(model)
        sklearn_missing.require_answers(answering(model, work), missing_probes(work, parts["train"]))
    answers = {key: sklearn_answers.answer(model, part.table(), work.task) for key, part in parts.items()}
    (work.path / PICKLE).write_bytes(pickle.dumps(model))
    return answers


def answering(model: Any, work: Work) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """Return what answers rows for the recipe's task."""
    return lambda rows: sklearn_answers.answer(model, rows, work.task)


def missing_probes(work: Work, train: Part) -> npt.NDArray[Any]:
    """Return rows with NaN in each column of the inputs that may have it."""
    columns: list[int] = []
    at = 0
    for name, array in train.inputs.items():
        width = int(np.prod(array.shape[1:]))
        columns += range(at, at + width) if name in work.missing else ()
        at += width
    return sklearn_missing.probes(train.table(), columns)


def source_digest(work: Work) -> str:
    """Return the SHA-256 of the pickled estimator."""
    return hashlib.sha256((work.path / PICKLE).read_bytes()).hexdigest()


def load(work: Work) -> Any:
    """Read back the estimator that `make` wrote in this build's own folder, ready for conversion."""
    model = pickle.loads((work.path / PICKLE).read_bytes())  # noqa: S301 - our own file of this very build
    for _place, step in sklearn_steps.steps(model):
        if hasattr(step, "flatten_transform"):
            # It shapes what transform() gives, which the answer does not use, and skl2onnx refuses it.
            step.flatten_transform = False
    return model

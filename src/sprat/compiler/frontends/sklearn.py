"""scikit-learn: trains by the recipe's factory and keeps the whole pipeline, so that the artifact is fed raw readings.

The answers are those of `sklearn_answers`; what becomes of each step in ONNX stands in `sklearn_converters` and
`sklearn_islands`, and which step cannot in `sklearn_steps`.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.frontends import sklearn_answers, sklearn_missing, sklearn_plain, sklearn_steps
from sprat.compiler.spec import factory
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import PICKLE, Work
from sprat.errors import RecipeError

_REHEARSED_FROM: Final = 3000
"""Training on fewer rows is over before a rehearsal would be worth it."""
_REHEARSAL: Final = 300


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, npt.NDArray[Any]]:
    """Train and answer every part with probabilities or values as float64."""
    if work.task == "classification":
        sklearn_answers.require_classes(parts["train"].labels)
    if len(parts["train"].labels) > _REHEARSED_FROM:
        _rehearse(work, parts)
    model = _fitted(work, parts["train"], parts["validation"])
    if not hasattr(model, "predict") or not hasattr(model, "get_params"):
        raise RecipeError(f"factory {work.factory}: model() gave {type(model).__name__}, expected a fitted estimator")
    model = sklearn_plain.itself(model)  # a search is what it found: its own parts need not be kept
    sklearn_steps.require_convertible(model)
    if work.missing:
        sklearn_missing.require_filled(model)
        sklearn_missing.require_answers(answering(model, work), missing_probes(work, parts["train"]))
    answers = {key: sklearn_answers.answer(model, part.table(), work.task) for key, part in parts.items()}
    (work.path / PICKLE).write_bytes(pickle.dumps(model))
    return answers


def _fitted(work: Work, train: Part, validation: Part) -> Any:
    np.random.seed(work.seed)
    return factory.load(Path(work.factory), "model")(train, validation, seed=work.seed, **work.parameters)


def _rehearse(work: Work, parts: Mapping[str, Part]) -> None:
    """Fit on a few rows first: a step that cannot be converted is told before the long training, not after it."""
    train, validation = (_few(parts[name]) for name in ("train", "validation"))
    try:
        model = _fitted(work, train, validation)
    except Exception:  # noqa: BLE001 - what few rows cannot do says nothing of all of them
        return
    sklearn_steps.require_convertible(model)
    sklearn_answers.kind(model, work.task)


def _few(part: Part) -> Part:
    """Return rows spread over the part, some of every class."""
    rows = np.linspace(0, len(part.labels) - 1, _REHEARSAL).astype(int)
    if part.labels.ndim == 1:
        rows = np.concatenate([rows, *(np.flatnonzero(part.labels == one)[:5] for one in np.unique(part.labels))])
    rows = np.unique(rows)
    return Part({name: array[rows] for name, array in part.inputs.items()}, part.labels[rows])


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
    return sklearn_plain.plain(model)

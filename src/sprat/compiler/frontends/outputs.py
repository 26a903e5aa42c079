"""Several outputs to one answer: which of them, in which order, is the same for the research model and each artifact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.errors import RecipeError

Array = npt.NDArray[Any]
_ROUNDING: Final = 1e-3


def named(found: Any) -> dict[str, Array]:
    """Return what a Keras model gave by name: its own names, or `output_0` and so on, as the export names them."""
    if isinstance(found, Mapping):
        return {str(name): np.asarray(array) for name, array in found.items()}
    several = found if isinstance(found, list | tuple) else [found]
    return {f"output_{place}": np.asarray(array) for place, array in enumerate(several)}


def joined(found: Mapping[str, Array], answer: tuple[str, ...], *, beside: str = "") -> Array:
    """Return the answer [n, width]: the named outputs in order, or all by name but for the one that stands beside it.

    RecipeError for a name that is not there.
    """
    missing = [name for name in answer if name not in found]
    if missing:
        raise RecipeError(f"answer: output {missing[0]!r} is not in the model, which has {', '.join(sorted(found))}")
    chosen = [found[name] for name in answer or sorted(found.keys() - {beside})]
    return np.concatenate([np.asarray(array).reshape(len(array), -1) for array in chosen], axis=1)


def require_embedding(name: str, found: Iterable[str]) -> None:
    """Raise RecipeError where an embedding is named that is no output, or the only one."""
    outputs = sorted(found)
    if name and name not in outputs:
        raise RecipeError(f"embedding: output {name!r} is not in the model, which has {', '.join(outputs)}")
    if name and len(outputs) == 1:
        raise RecipeError(f"embedding: {name!r} is the model's only output, so that nothing is left for its answer")


def widened(answers: Array, *, classes: int) -> Array:
    """Return the scores of two classes where a model gives one probability: that of the second."""
    return np.concatenate([1 - answers, answers], axis=1) if classes == 2 and answers.shape[1] == 1 else answers


def are_probabilities(scores: Array) -> bool:
    """Tell whether class scores can be probabilities: from 0 to 1, but for what rounding adds."""
    return bool(scores.min() >= -_ROUNDING and scores.max() <= 1 + _ROUNDING)


def reduced(answers: Array, steps: int, how: str) -> Array:
    """Return one answer [n, width] for each sequence of so many readings: the last one's, or the highest of each score."""
    if not steps:
        return answers
    sequences = answers.reshape(-1, steps, answers.shape[1])
    whole: Array = sequences.max(axis=1) if how == "max" else sequences[:, -1]
    return whole


def flattened(sequences: Array, steps: int) -> Array:
    """Return the readings one after the other [n * steps, ...]; without steps the rows are readings as they are."""
    return sequences.reshape(-1, *sequences.shape[2:]) if steps else sequences

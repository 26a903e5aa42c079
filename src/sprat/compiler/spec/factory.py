"""A recipe's factory: a Python file with `data()` and `model(train, validation, *, seed, …)`, loaded by path.

`data()` returns columns by name. `model` returns what its framework trains; its keyword arguments are the keys that
`[train]` of the recipe may set. An augmentation `name(train, *, seed)` returns rows to add to the training part. The recipe's author writes this file: it is trusted as the recipe is.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat.data.readers.callables import load_function
from sprat.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the split as a factory sees it: inputs by name, and class positions or values."""

    inputs: Mapping[str, npt.NDArray[Any]]
    labels: npt.NDArray[Any]

    def table(self) -> npt.NDArray[Any]:
        """Return all inputs side by side in the recipe's order, as scikit-learn takes them: float64, or objects with text."""
        columns = [array.reshape(len(array), -1) for array in self.inputs.values()]
        if any(array.dtype.kind == "U" for array in columns):
            return np.concatenate([array.astype(object) for array in columns], axis=1)
        return np.concatenate([np.asarray(array, np.float64) for array in columns], axis=1)


def parameters(path: Path) -> tuple[str, ...]:
    """Return the keyword arguments of the file's `model` function without running the file, `seed` left out."""
    try:
        tree = ast.parse(path.read_text("utf-8"), filename=str(path))
    except (OSError, SyntaxError, ValueError) as exc:
        raise RecipeError(f"factory {path}: cannot be read ({exc})") from exc
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "model":
            return tuple(argument.arg for argument in node.args.kwonlyargs if argument.arg != "seed")
    raise RecipeError(f"factory {path}: has no function 'model(train, validation, *, seed, …)'")


def load(path: Path, name: str) -> Callable[..., Any]:
    """Run the file and return one of its functions; no bytecode is left beside it."""
    return load_function(path, name, what="factory")


def augmented(path: Path, name: str, train: Part, *, seed: int) -> Part:
    """Return the training part with the rows behind it that the factory's function `name(train, *, seed)` adds."""
    more = load(path, name)(train, seed=seed)
    where = f"factory {path}: {name}()"
    if not isinstance(more, Part) or set(more.inputs) != set(train.inputs):
        raise RecipeError(
            f"{where} gave {type(more).__name__}, expected a Part with the inputs {', '.join(train.inputs)}"
        )
    for key, array in {**more.inputs, "labels": more.labels}.items():
        old = train.labels if key == "labels" else train.inputs[key]
        new = np.asarray(array)
        if new.shape[1:] != old.shape[1:] or len(new) != len(more.labels):
            raise RecipeError(f"{where}: {key} has shape {list(new.shape)}, expected rows of {list(old.shape[1:])}")
        if new.dtype.kind == "f" and not np.all(np.isfinite(new)):
            raise RecipeError(f"{where}: {key} holds values that are not finite")
    inputs = {key: np.concatenate([old, np.asarray(more.inputs[key], old.dtype)]) for key, old in train.inputs.items()}
    return Part(inputs, np.concatenate([train.labels, np.asarray(more.labels, train.labels.dtype)]))

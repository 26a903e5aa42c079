"""A recipe's factory: a Python file with `data()` and `model(train, validation, *, seed, …)`, loaded by path.

`data()` returns columns by name. `model` returns what its framework trains; its keyword arguments are the keys that
`[train]` of the recipe may set. The recipe's author writes this file: it is trusted as the recipe is.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sprat.data.readers.callables import load_function
from sprat.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the split as a factory sees it: inputs by name, and class positions or values."""

    inputs: Mapping[str, npt.NDArray[Any]]
    labels: npt.NDArray[Any]


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

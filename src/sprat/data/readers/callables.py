"""`module.py:function`: the user's own Python, run by name, that returns columns by name. Nothing else is ever run."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sprat.errors import ContractError, RecipeError, SpratError


def read(path: Path) -> Mapping[str, object]:
    """Run the function that `path` names after the colon and return its columns, or raise ContractError."""
    file, _, name = str(path).rpartition(":")
    if not Path(file).is_file():
        raise ContractError(f"{file} does not exist")
    try:
        # A program that reads --json gets one document: what the function prints goes to stderr.
        with contextlib.redirect_stdout(sys.stderr):
            columns = load_function(Path(file), name, what="data")()
    except SpratError:
        raise
    except Exception as exc:
        raise ContractError(f"{name}() failed: {type(exc).__name__}: {' '.join(str(exc).split())[:200]}") from exc
    if not isinstance(columns, Mapping):
        raise ContractError(f"{name}() returned {type(columns).__name__}, expected columns by name (a dict of arrays)")
    return columns


def load_function(path: Path, name: str, *, what: str) -> Callable[..., Any]:
    """Run a Python file and return one of its functions; no bytecode is left beside it."""
    spec = importlib.util.spec_from_file_location("sprat_factory", path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{what} {path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a neighbour may be imported, but takes no other module's place
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    found = getattr(module, name, None)
    if not callable(found):
        raise RecipeError(f"{what} {path}: has no function {name!r}")
    return found  # type: ignore[no-any-return]

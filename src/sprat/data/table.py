"""A table: named columns of one length, whatever they were read from; a column may have more axes than its rows (images)."""

from __future__ import annotations

import csv
import importlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from sprat.errors import ContractError, MachineLacks, RecipeError
from sprat_device.contract import arrays

Column = npt.NDArray[Any]
Table = Mapping[str, Column]

MAX_BYTES: Final = 4 * 1024**3
MISSING: Final = frozenset({"", "na", "nan", "null", "none", "?"})
"""What a cell says, in small letters, where a value is missing."""
_READERS: Final[Mapping[str, str]] = {
    ".csv": "sprat.data.readers.csv_file",
    ".npz": "sprat.data.readers.npz_file",
    ".parquet": "sprat.data.readers.parquet_file",
    ".py:": "sprat.data.readers.callables",
    "": "sprat.data.readers.images",
}
"""What a path ends with -> the module that reads it; the empty key is a folder."""


def read_table(path: Path) -> Table:
    """Read a `.csv`, `.npz` or `.parquet` file, a folder of images or what `module.py:function` returns.

    RecipeError says what cannot be read, MachineLacks which package a reader needs.
    """
    kind = "" if path.is_dir() else ".py:" if ".py:" in path.name else path.suffix.lower() or "no suffix"
    module = _READERS.get(kind)
    if module is None:
        raise RecipeError(
            f"data {path}: found {kind}, expected .csv, .npz, .parquet, a folder of images or module.py:function"
        )
    try:
        return require_table(importlib.import_module(module).read(path), str(path))
    except (OSError, UnicodeDecodeError, csv.Error, ContractError, MemoryError) as exc:
        raise RecipeError(f"data {path}: cannot be read ({' '.join(str(exc).split())[:300]})") from exc


def require_table(table: Mapping[str, object], where: str) -> Table:
    """Return the table with every column as an array of plain values and one length, or raise RecipeError."""
    columns = {str(name): np.asarray(values) for name, values in table.items()}
    for name, column in columns.items():
        if column.ndim < 1 or column.dtype.kind not in "biufSU":
            raise RecipeError(f"data {where}: column {name!r} holds {column.dtype}, expected numbers or text in rows")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise RecipeError(f"data {where}: found columns of {sorted(lengths)} rows, expected one length above zero")
    return columns


def column(table: Table, name: str, *, asked_by: str) -> Column:
    """Return a column, or say which one is missing, who asked for it and what there is."""
    if name not in table:
        raise RecipeError(f"{asked_by}: column {name!r} is missing; the data has {', '.join(sorted(table))}")
    return table[name]


def needed(module: str, what: str, package: str) -> ModuleType:
    """Import a package that only some readers need, or raise MachineLacks with the way to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise MachineLacks(f"reading {what} needs {package}; install it with: pip install 'sprat[compiler]'") from exc


def write_table(path: Path, table: Table) -> None:
    """Write an npz whose bytes follow from its content alone; a half-written file never stands under `path`."""
    write_atomic(path, arrays.dump(table))


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file, or leave what was there."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that stands under `path` only when all of it is on disk; two writers do not meet."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # before the rename, which may reach the disk before the data
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

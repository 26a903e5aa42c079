"""A table: named columns of one length, read from CSV or npz; a column may have more axes than its rows (images)."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.errors import ContractError, RecipeError
from sprat_device.contract import arrays

Column = npt.NDArray[Any]
Table = Mapping[str, Column]

MAX_BYTES: Final = 4 * 1024**3
_MISSING: Final = frozenset({"", "na", "nan", "null", "none", "?"})


def read_table(path: Path) -> Table:
    """Read a `.csv` (a header line, then rows) or `.npz` file, or raise RecipeError."""
    readers = {".csv": _read_csv, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise RecipeError(f"data {path}: found {path.suffix or 'no suffix'}, expected .csv or .npz")
    try:
        return require_table(reader(path), str(path))
    except (OSError, UnicodeDecodeError, csv.Error, ContractError) as exc:
        raise RecipeError(f"data {path}: cannot be read ({exc})") from exc


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


def _read_npz(path: Path) -> dict[str, object]:
    # numpy's own archives may be deflated; np.load bounds nothing, so pickles are off and our size bound stands first.
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ContractError(f"{size} bytes, at most {MAX_BYTES} are allowed")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
        raise ContractError(f"not an npz of plain arrays: {exc}") from exc


def _read_csv(path: Path) -> dict[str, object]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, strict=True)
        header = [name.strip() for name in next(rows, [])]
        if not header or len(set(header)) != len(header) or "" in header:
            raise ContractError(f"its first line must name each column once, found {header}")
        values: list[list[str]] = [[] for _ in header]
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise ContractError(f"line {rows.line_num} has {len(row)} fields, the header {len(header)}")
            for i, cell in enumerate(row):
                values[i].append(cell.strip())
    return {name: _typed(cells) for name, cells in zip(header, values, strict=True)}


def _typed(cells: list[str]) -> Column:
    """Make numbers of a column whose every cell is one or is missing, else keep text."""
    try:
        return np.asarray([np.nan if cell.lower() in _MISSING else float(cell) for cell in cells], np.float64)
    except ValueError:
        return np.asarray(cells)


def write_table(path: Path, table: Table) -> None:
    """Write an npz whose bytes follow from its content alone; a half-written file never stands under `path`."""
    write_atomic(path, arrays.dump(table))


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file, or leave what was there."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

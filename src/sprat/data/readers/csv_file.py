"""CSV with a header line: a column whose every cell is a number or missing becomes float64, every other one text.

Numbers are kept as 8 bytes while reading, not as strings; only columns that turn out to be text are read again.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from sprat.data.table import MAX_BYTES, MISSING, Column
from sprat.errors import ContractError

_NOT_A_NUMBER: Final = float("nan")
_MAX_CELL: Final = 131_072
"""Characters of one cell; csv's own bound."""


def read(path: Path) -> dict[str, Column]:
    """Return the columns, or raise ContractError with the line that is wrong."""
    rows = _rows(path)
    header = next(rows)
    numbers = {place: array("d") for place in range(len(header))}
    for row in rows:
        for place in list(numbers):
            try:
                numbers[place].append(_number(row[place]))
            except ValueError:
                del numbers[place]  # it is text: read again below, as it was written
    texts = _texts(path, [place for place in range(len(header)) if place not in numbers])
    return {
        name: np.frombuffer(numbers[place], np.float64) if place in numbers else texts[place]
        for place, name in enumerate(header)
    }


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the header, then each row that is not empty, all of one length."""
    csv.field_size_limit(_MAX_CELL)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, strict=True)
        header = [name.strip() for name in next(rows, [])]
        if not header or len(set(header)) != len(header) or "" in header:
            raise ContractError(f"its first line must name each column once, found {str(header)[:200]}")
        if len(header) == 1 and (other := next((mark for mark in ";\t|" if mark in header[0]), "")):
            raise ContractError(f"its fields are separated by {other!r}, expected commas")
        yield header
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise ContractError(f"line {rows.line_num} has {len(row)} fields, the header {len(header)}")
            yield row


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return _NOT_A_NUMBER
        raise


def _texts(path: Path, places: list[int]) -> dict[int, Column]:
    if not places:
        return {}
    cells: dict[int, list[str]] = {place: [] for place in places}
    rows = _rows(path)
    next(rows)
    for row in rows:
        for place in places:
            cells[place].append(row[place].strip())
    return {place: _text(values) for place, values in cells.items()}


def _text(values: list[str]) -> Column:
    """Make one array; numpy keeps 4 bytes for each character of the longest cell, in every row."""
    longest = max(map(len, values), default=0)
    if 4 * longest * len(values) > MAX_BYTES:
        raise ContractError(f"a text of {longest} characters in {len(values)} rows is too much; leave that column out")
    return np.asarray(values)

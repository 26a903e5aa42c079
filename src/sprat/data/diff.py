"""What changed from one data set to another: columns, their ranges, how far their values moved, and rows in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sprat.data import distribution, split
from sprat.data.table import Column, Table


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One column in both data sets: what it holds, its range in each, and the PSI from the first to the second."""

    name: str
    holds: tuple[str, str]
    ranges: tuple[str, str]
    psi: float | None
    """None where the two hold different kinds, or arrays of different shapes."""


@dataclass(frozen=True, slots=True)
class Difference:
    """From one data set to another; `common_rows` counts equal rows over the columns that both have in one kind."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[str, ...]
    columns: tuple[ColumnChange, ...]
    rows: tuple[int, int]
    common_rows: int


def compare(before: Table, after: Table) -> Difference:
    """Compare column by column; the PSI is of all values, a row of an array column is not looked at as a whole."""
    both = [name for name in before if name in after]
    alike = [name for name in both if holds(before[name]) == holds(after[name])]
    comparable = [name for name in both if _comparable(before[name], after[name])]
    return Difference(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        retyped=tuple(name for name in both if name not in alike),
        columns=tuple(_change(name, before[name], after[name], known=name in comparable) for name in both),
        rows=(_rows(before), _rows(after)),
        common_rows=_common(before, after, comparable),
    )


def holds(column: Column) -> str:
    """Return what a column holds, for people: the type (of text whatever its length) and the shape of one row."""
    kind = "text" if column.dtype.kind in "SU" else str(column.dtype)
    return f"{kind} {list(column.shape[1:]) or ''}".strip()


def _comparable(one: Column, other: Column) -> bool:
    return one.shape[1:] == other.shape[1:] and (one.dtype.kind in "SU") == (other.dtype.kind in "SU")


def _change(name: str, before: Column, after: Column, *, known: bool) -> ColumnChange:
    psi = distribution.shift(before, after) if known else None
    return ColumnChange(name, (holds(before), holds(after)), (_range(before), _range(after)), psi)


def _range(column: Column) -> str:
    if column.dtype.kind in "SU":
        return f"{len(np.unique(column))} different"
    if column.dtype.kind == "f":
        finite = column[np.isfinite(column)]
        return f"{finite.min():g} to {finite.max():g}" if finite.size else "nothing"
    return f"{column.min():g} to {column.max():g}"


def _rows(table: Table) -> int:
    return len(next(iter(table.values())))


def _common(before: Table, after: Table, names: Sequence[str]) -> int:
    """Count equal rows by their hashes, a row that stands twice in both as two."""
    if not names:
        return 0
    kinds = {name: np.result_type(before[name], after[name]) for name in names}
    one, other = (
        Counter(split.row_digests({name: np.asarray(table[name], kinds[name]) for name in names}))
        for table in (before, after)
    )
    return (one & other).total()

"""Writes a data set as a file that other programs read: `.csv`, `.npz` or `.parquet`; a half-written file never stands."""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from sprat.data.readers.parquet_file import SHAPE_KEY
from sprat.data.table import Column, Table, needed, whole_file
from sprat.errors import WrongUse
from sprat_device.contract import arrays

_CHUNK_ROWS: Final = 65_536


def write(path: Path, table: Table) -> None:
    """Write by the suffix of the path; WrongUse says what the format cannot hold."""
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise WrongUse(f"{path}: found {path.suffix or 'no suffix'}, expected {', '.join(_WRITERS)}")
    if path.suffix.lower() == ".csv" and (wide := [name for name, column in table.items() if column.ndim > 1]):
        raise WrongUse(
            f"{path}: column {wide[0]!r} holds an array in each row, which a CSV cannot; use .npz or .parquet"
        )
    with whole_file(path) as file:
        writer(file, table)


def _csv(file: IO[bytes], table: Table) -> None:
    """Write numbers so that they come back as they were, flags as 1 and 0, and a missing one as an empty cell."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(table)
    count = len(next(iter(table.values())))
    for start in range(0, count, _CHUNK_ROWS):
        rows.writerows(zip(*(_cells(column[start : start + _CHUNK_ROWS]) for column in table.values()), strict=True))
    text.flush()
    text.detach()  # the file is closed by whom it belongs to


def _cells(column: Column) -> list[object]:
    if column.dtype.kind == "S":
        return list(np.char.decode(column, "utf-8"))
    if column.dtype.kind == "b":
        return column.astype(np.uint8).tolist()  # type: ignore[no-any-return]
    values: list[Any] = column.tolist()
    return ["" if isinstance(value, float) and math.isnan(value) else value for value in values]


def _npz(file: IO[bytes], table: Table) -> None:
    """Stream the arrays one by one; the bytes follow from the content alone."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(table):
            with archive.open(arrays.zip_entry(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(table[name]), version=(1, 0), allow_pickle=False)


def _parquet(file: IO[bytes], table: Table) -> None:
    parquet = needed("pyarrow.parquet", "Parquet", "pyarrow")
    arrow = needed("pyarrow", "Parquet", "pyarrow")
    fields, values = [], []
    for name, column in table.items():
        made = _arrow(arrow, column)
        noted = {SHAPE_KEY: json.dumps(list(column.shape[1:])).encode()} if column.ndim > 1 else None
        fields.append(arrow.field(name, made.type, metadata=noted))
        values.append(made)
    parquet.write_table(arrow.Table.from_arrays(values, schema=arrow.schema(fields)), file)


def _arrow(arrow: Any, column: Column) -> Any:
    native = column.astype(column.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "S":
        native = np.char.decode(native, "utf-8")
    flat = arrow.array(native.reshape(-1).tolist() if native.dtype.kind == "U" else native.reshape(-1))
    width = math.prod(column.shape[1:])
    return flat if column.ndim == 1 else arrow.FixedSizeListArray.from_arrays(flat, width)


_WRITERS: Final[Mapping[str, Callable[[IO[bytes], Table], None]]] = {".csv": _csv, ".npz": _npz, ".parquet": _parquet}

"""Answers to `.csv`, `.jsonl`, `.json`, `.parquet` or `.npz`, piece by piece; a half-written file never has its name.

`.npz` alone is held in memory until the end, since an archive's arrays say their length first.
"""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from sprat_device.contract import arrays as contract_arrays
from sprat_device.contract.errors import MachineLacks, WrongUse
from sprat_device.inference.batch import Row


class Writer(Protocol):
    """Takes rows in their order."""

    def add(self, rows: Sequence[Row]) -> None:
        """Write some more rows."""
        ...

    def end(self) -> None:
        """Write what stands at the end."""
        ...


@contextmanager
def writing(path: Path, *, width: int) -> Iterator[Writer]:
    """Give a writer of answers with so many outputs; the file takes its name when all went well."""
    require_known(path)
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            writer = _WRITERS[path.suffix](file, width)
            yield writer
            writer.end()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def require_known(path: Path, *, raw: bool = False) -> None:
    """Raise WrongUse for a name that no writer knows; asked before the work, so that a typo costs nothing."""
    if path.suffix not in _WRITERS or (raw and path.suffix != ".npz"):
        expected = ".npz" if raw else ", ".join(_WRITERS)
        raise WrongUse(f"--output {path}: expected a name that ends in {expected}")
    if not path.parent.is_dir():
        raise WrongUse(f"--output {path}: there is no folder {path.parent}; make it first, or name another")
    if path.is_dir():
        raise WrongUse(f"--output {path}: found a folder, expected a file")
    if path.suffix == ".parquet":
        _pyarrow()


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by name as `.npz`."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(contract_arrays.dump(arrays))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _Csv:
    def __init__(self, file: IO[bytes], width: int) -> None:
        self._file = file
        self._width = width
        self._row = 0
        self._files = False

    def add(self, rows: Sequence[Row]) -> None:
        if not self._row:
            self._files = any(row.file for row in rows)
            outputs = [f"output_{place}" for place in range(self._width)]
            self._write([["row", *["file"] * self._files, "label", "name", *outputs, "reason"]])
        self._write([
            [self._row + place, *[row.file] * self._files, row.label, row.name,
             *row.outputs, *[""] * (self._width - len(row.outputs)), row.reason]
            for place, row in enumerate(rows)
        ])  # fmt: skip
        self._row += len(rows)

    def _write(self, lines: list[list[Any]]) -> None:
        text = _Text()
        csv.writer(text).writerows(lines)
        self._file.write("".join(text.parts).encode())

    def end(self) -> None:
        pass  # nothing stands at the end


class _Text:
    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return len(text)


class _Jsonl:
    def __init__(self, file: IO[bytes], _width: int) -> None:
        self._file = file

    def add(self, rows: Sequence[Row]) -> None:
        self._file.write("".join(f"{_json(row)}\n" for row in rows).encode())

    def end(self) -> None:
        pass  # nothing stands at the end


class _Json:
    def __init__(self, file: IO[bytes], _width: int) -> None:
        self._file = file
        self._mark = b"[\n "

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._file.write(self._mark + _json(row).encode())
            self._mark = b",\n "

    def end(self) -> None:
        self._file.write(b"[]\n" if self._mark.startswith(b"[") else b"\n]\n")


class _Npz:
    def __init__(self, file: IO[bytes], width: int) -> None:
        self._file = file
        self._width = width
        self._rows: list[Mapping[str, npt.NDArray[Any]]] = []

    def add(self, rows: Sequence[Row]) -> None:
        self._rows.append(_arrays(rows, self._width))

    def end(self) -> None:
        parts = self._rows or [_arrays((), self._width)]
        names = [name for name in parts[0] if name != "file" or any((part["file"] != "").any() for part in parts)]
        self._file.write(contract_arrays.dump({name: np.concatenate([part[name] for part in parts]) for name in names}))


class _Parquet:
    def __init__(self, file: IO[bytes], width: int) -> None:
        self._arrow, self._parquet = _pyarrow()
        self._file = file
        self._width = width
        self._writer: Any = None

    def add(self, rows: Sequence[Row]) -> None:
        columns = {name: array for name, array in _arrays(rows, self._width).items() if name != "outputs"}
        table = {name: self._arrow.array(array.tolist()) for name, array in columns.items()}
        outputs = [list(row.outputs) for row in rows]
        table["outputs"] = self._arrow.array(outputs, type=self._arrow.list_(self._arrow.float32()))
        made = self._arrow.table(table)
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._file, made.schema)
        self._writer.write_table(made)

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _arrays(rows: Sequence[Row], width: int) -> dict[str, npt.NDArray[Any]]:
    outputs = np.full((len(rows), width), np.nan, np.float32)
    for place, row in enumerate(rows):
        outputs[place, : len(row.outputs)] = row.outputs
    return {
        "label": np.array([row.label for row in rows], np.int64),
        "name": np.array([row.name for row in rows], np.str_),
        "outputs": outputs,
        "reason": np.array([str(row.reason) for row in rows], np.str_),
        "file": np.array([row.file for row in rows], np.str_),
    }


def _json(row: Row) -> str:
    document = asdict(row)
    if not row.file:
        del document["file"]
    return json.dumps(document)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as exc:
        raise MachineLacks("Parquet needs pyarrow, which is not installed; pip install pyarrow, or write .csv") from exc


_WRITERS: Final[Mapping[str, Callable[[IO[bytes], int], Writer]]] = {
    ".csv": _Csv,
    ".jsonl": _Jsonl,
    ".json": _Json,
    ".npz": _Npz,
    ".parquet": _Parquet,
}

"""Inputs from `.npz`, `.npy`, `.csv`, `.jsonl`, `.parquet` or a folder of files, piece by piece.

A piece holds about 1 MiB, at least one row: what is in memory does not depend on the size of the file.
"""

from __future__ import annotations

import csv
import importlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from sprat_device.contract.errors import MachineLacks, WrongUse, did_you_mean
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.inference.batch import Piece, stored
from sprat_device.inference.batch.images import pictures
from sprat_device.inference.sources.reading import as_declared, dtypes, parsed
from sprat_device.inference.tensors import reading_dtype

_PIECE_BYTES: Final = 1024 * 1024
_MOST_ROWS: Final = 1024
_TEXT_BYTES: Final = 64

Pieces = Iterator[Piece]
T = TypeVar("T")


def pieces(path: Path, manifest: Manifest) -> Pieces:
    """Read the rows of a file or folder, or raise WrongUse for what is not one; MachineLacks without pyarrow."""
    require_there(path)
    if path.is_dir():
        return pictures(path, manifest)
    return _some(_READERS[path.suffix](path, manifest, rows_at_once(manifest)), path)


def require_there(path: Path) -> None:
    """Raise WrongUse for a name behind which nothing stands that can be read."""
    if not path.exists():
        raise WrongUse(f"{path}: not there; expected a file or a folder of inputs")
    if not path.is_dir() and path.suffix not in _READERS:
        raise WrongUse(f"{path}: expected a folder or a name that ends in {', '.join(_READERS)}")


def rows_at_once(manifest: Manifest) -> int:
    """Return how many rows one piece has."""
    size = sum((reading_dtype(s).itemsize or _TEXT_BYTES) * int(np.prod(s.shape[1:])) for s in manifest.inputs)
    return max(1, min(_MOST_ROWS, _PIECE_BYTES // max(1, size)))


def _some(found: Pieces, path: Path) -> Pieces:
    first = next(found, None)
    if first is None or not first.count:
        raise WrongUse(f"{path}: no rows; expected at least one")
    return itertools.chain([first], found)


def _npy(path: Path, manifest: Manifest, rows: int) -> Pieces:
    return _declared(stored.npy(path, [spec.name for spec in manifest.inputs], rows), manifest, path)


def _npz(path: Path, manifest: Manifest, rows: int) -> Pieces:
    return _declared(stored.npz(path, [spec.name for spec in manifest.inputs], rows), manifest, path)


def _declared(found: Iterator[dict[str, npt.NDArray[Any]]], manifest: Manifest, path: Path) -> Pieces:
    wanted = dtypes(manifest)
    for arrays in found:
        inputs = {name: as_declared(array, wanted[name]) for name, array in arrays.items()}
        yield Piece({name: _whole(array, name, path) for name, array in inputs.items()})


def _csv(path: Path, manifest: Manifest, rows: int) -> Pieces:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = (row for row in csv.reader(file) if row)
            header = [name.strip() for name in next(table, [])]
            _require_once(header, manifest, path)
            for first, group in _numbered(table, rows):
                yield Piece(_columns(_transposed(group, header, first, path), manifest, path))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise WrongUse(f"{path}: cannot be read as CSV ({exc})") from exc


def _require_once(header: list[str], manifest: Manifest, path: Path) -> None:
    for name in (name for spec in manifest.inputs for name in spec.features or (spec.name,)):
        if header.count(name) > 1:
            raise WrongUse(
                f"{path}: {header.count(name)} columns are named {name!r}, expected one; rename those that are not meant"
            )


def _transposed(group: list[list[str]], header: list[str], first: int, path: Path) -> Mapping[str, list[str]]:
    for place, row in enumerate(group, first):
        if len(row) != len(header):
            raise WrongUse(
                f"{path}: row {place} has {len(row)} cells, expected rows of {len(header)} cells below a line of names"
            )
    return {name: [row[place] for row in group] for place, name in enumerate(header)}


def _columns(columns: Mapping[str, list[str]], manifest: Manifest, path: Path) -> dict[str, npt.NDArray[Any]]:
    return {spec.name: _input(spec, columns, path) for spec in manifest.inputs}


def _input(spec: TensorSpec, columns: Mapping[str, list[str]], path: Path) -> npt.NDArray[Any]:
    names = spec.features or (spec.name,)
    _require(names, columns, path)
    try:
        cells = [[_cell(text, spec, name) for text in columns[name]] for name in names]
        table = np.array(cells, dtype=reading_dtype(spec)).T
        return table.reshape(-1, *spec.shape[1:])
    except (ValueError, OverflowError) as exc:
        raise WrongUse(f"{path}: input {spec.name!r} of shape {list(spec.shape[1:])}: {exc}") from exc


def _cell(text: str, spec: TensorSpec, column: str) -> str | float | int:
    if spec.dtype == "string":
        return text
    whole = reading_dtype(spec).kind in "iu"
    try:
        # An empty cell is a missing value: not finite, so the session names it.
        return int(text) if whole else float(text) if text.strip() else float("nan")
    except ValueError as exc:
        kind = "a whole number" if whole else "a number or nothing"
        raise ValueError(f"column {column!r}: found {text[:80]!r}, expected {kind}") from exc


def _jsonl(path: Path, manifest: Manifest, rows: int) -> Pieces:
    """Read a document per line: a mapping by input, or the bare values of an only input."""
    wanted = dtypes(manifest)
    try:
        with path.open(encoding="utf-8-sig") as file:
            for first, group in _numbered((line for line in file if line.strip()), rows):
                found = [parsed(json.loads(line), wanted) for line in group]
                yield Piece({name: _stacked([row.get(name) for row in found], name, first, path) for name in wanted})
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as exc:
        raise WrongUse(f"{path}: cannot be read as lines of JSON ({exc})") from exc


def _stacked(arrays: list[npt.NDArray[Any] | None], name: str, first: int, path: Path) -> npt.NDArray[Any]:
    there = [array for array in arrays if array is not None]
    if len(there) != len(arrays) or len({array.shape for array in there}) != 1:
        last = first + len(arrays) - 1
        raise WrongUse(f"{path}: input {name!r} is missing or of another shape in a row of {first} to {last}")
    return np.stack(there)


def _parquet(path: Path, manifest: Manifest, rows: int) -> Pieces:
    """Read columns by feature, or a column of lists by input; pyarrow is not among what a device installs."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as exc:
        raise MachineLacks(
            f"{path}: Parquet needs pyarrow, which is not installed; pip install pyarrow, or send CSV"
        ) from exc
    wanted = dtypes(manifest)
    try:
        file = parquet.ParquetFile(path)
        names = [name for spec in manifest.inputs for name in _parquet_names(spec, file.schema_arrow.names)]
        _require(names, dict.fromkeys(file.schema_arrow.names), path)
        for batch in file.iter_batches(batch_size=rows, columns=names):
            columns = {name: np.array(batch.column(name).to_pylist()) for name in names}
            yield Piece({
                spec.name: _whole(as_declared(_of_columns(spec, columns), wanted[spec.name]), spec.name, path)
                for spec in manifest.inputs
            })  # fmt: skip
    except (OSError, ValueError) as exc:  # pyarrow's errors are of both kinds
        raise WrongUse(f"{path}: cannot be read as Parquet ({' '.join(str(exc).split())[:200]})") from exc


def _parquet_names(spec: TensorSpec, there: list[str]) -> tuple[str, ...]:
    return (spec.name,) if spec.name in there else spec.features or (spec.name,)


def _of_columns(spec: TensorSpec, columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    table = columns[spec.name] if spec.name in columns else np.stack([columns[n] for n in spec.features], axis=-1)
    return table.reshape(-1, *spec.shape[1:])


def _numbered(items: Iterator[T], count: int) -> Iterator[tuple[int, list[T]]]:
    """Give so many items at a time, with the number of the first."""
    first = 0
    while group := list(itertools.islice(items, count)):
        yield first, group
        first += len(group)


def _require(names: tuple[str, ...] | list[str], there: Mapping[str, object], path: Path) -> None:
    for name in names:
        if name not in there:
            raise WrongUse(f"{path}: column {name!r} is missing{did_you_mean(name, there)}")


def _whole(array: npt.NDArray[Any] | None, name: str, path: Path) -> npt.NDArray[Any]:
    if array is None:
        raise WrongUse(f"{path}: input {name!r} has lists of different lengths side by side")
    return array


_READERS: Final[Mapping[str, Callable[[Path, Manifest, int], Pieces]]] = {
    ".npz": _npz, ".npy": _npy, ".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet,
}  # fmt: skip

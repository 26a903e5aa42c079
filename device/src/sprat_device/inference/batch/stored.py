"""`.npy` and `.npz` read by rows: the bytes of some rows at a time, whether the archive is compressed or not."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.arrays import DAMAGE
from sprat_device.contract.errors import WrongUse

_HEADER_BOUND: Final = 10_000


class Stream:
    """An array in a stream, read row after row."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        version = np.lib.format.read_magic(stream)
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in headers:
            raise WrongUse(f"{where}: npy version {version}, expected 1.0 or 2.0")
        shape, fortran, self.dtype = headers[version](stream, max_header_size=_HEADER_BOUND)
        if self.dtype.hasobject or not shape:
            raise WrongUse(f"{where}: {self.dtype} {list(shape)}, expected plain values with an axis of rows")
        if fortran and len(shape) > 1:
            raise WrongUse(f"{where}: stored column by column; save numpy.ascontiguousarray of it")
        self.rows, self._row = shape[0], shape[1:]
        self._stream = stream

    def read(self, rows: int) -> npt.NDArray[Any]:
        """Return the next rows; ValueError for a file that ends before."""
        wanted = rows * math.prod(self._row) * self.dtype.itemsize
        raw = self._stream.read(wanted)
        if len(raw) != wanted:
            raise ValueError(f"it ends {wanted - len(raw)} bytes too early")
        return np.frombuffer(raw, self.dtype).reshape(rows, *self._row)


def npy(path: Path, names: Sequence[str], rows: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Read the only input of a model."""
    if len(names) != 1:
        raise WrongUse(f"{path}: one array for the inputs {', '.join(names)}; save them by name as .npz")
    try:
        with path.open("rb") as file:
            yield from _together({names[0]: Stream(file, str(path))}, rows, path)
    except DAMAGE as exc:
        raise _unreadable(path, exc) from exc


def npz(path: Path, names: Sequence[str], rows: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Read the array of each input; other arrays in the file are left alone."""
    try:
        with ExitStack() as opened:
            archive = opened.enter_context(zipfile.ZipFile(path))
            there = set(archive.namelist())
            for name in names:
                if f"{name}.npy" not in there:
                    raise WrongUse(f"{path}: no array for input {name!r}; it needs {', '.join(sorted(names))}")
            streams = {
                name: Stream(opened.enter_context(archive.open(f"{name}.npy")), f"{path}: {name}") for name in names
            }
            yield from _together(streams, rows, path)
    except DAMAGE as exc:
        raise _unreadable(path, exc) from exc


def _together(streams: dict[str, Stream], rows: int, path: Path) -> Iterator[dict[str, npt.NDArray[Any]]]:
    counts = {stream.rows for stream in streams.values()}
    if len(counts) != 1:
        raise WrongUse(f"{path}: expected arrays with the same number of rows, found {sorted(counts)}")
    left = counts.pop()
    while left:
        count = min(left, rows)
        yield {name: stream.read(count) for name, stream in streams.items()}
        left -= count


def _unreadable(path: Path, exc: BaseException) -> WrongUse:
    why = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
    return WrongUse(f"{path}: cannot be read as plain arrays ({' '.join(str(why).split())[:200]})")

"""The header of an npy file from anybody: what numpy's own reader raises on damage is one error of ours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from sprat.data.table import Column
from sprat.errors import ContractError
from sprat_device.contract.arrays import DAMAGE

_READERS: Final[dict[tuple[int, int], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True)
class Header:
    """What an array is and where its bytes begin."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    offset: int

    @property
    def size(self) -> int:
        """Return the bytes that the values take."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes]) -> Header:
    """Read the header of an array of plain values, or raise ContractError."""
    try:
        version = np.lib.format.read_magic(stream)
        reader = _READERS.get(version)
        if reader is None:
            raise ContractError(f"npy version {version}, expected 1.0 or 2.0")
        shape, fortran, dtype = reader(stream)
    except OSError:
        raise  # the disk, not the file: its reader says so
    except DAMAGE as exc:
        raise ContractError(f"not a plain array: {' '.join(str(exc).split())[:120]}") from exc
    if dtype.hasobject or any(size < 0 for size in shape):
        raise ContractError("not a plain array: it holds Python objects (a pickle), or no shape")
    return Header(dtype, shape, fortran, stream.tell())


def map_file(path: Path) -> Column:
    """Map an array into memory, read-only, or raise ContractError; its bytes must fill what the header says."""
    with path.open("rb") as file:
        header = read_header(file)
    if path.stat().st_size - header.offset != header.size:
        raise ContractError(f"{header.dtype} {list(header.shape)} does not fill its file")
    found: Column = np.memmap(path, header.dtype, "r", header.offset, header.shape, "F" if header.fortran else "C")
    return found

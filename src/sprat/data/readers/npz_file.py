"""npz as numpy writes it, deflated or not: every size is bounded before its bytes are read, and no pickle is opened."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from sprat.data.table import MAX_BYTES, Column
from sprat.errors import ContractError

_MAX_ENTRIES: Final = 4096
_READ_HEADER: Final[dict[tuple[int, int], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(path: Path) -> dict[str, Column]:
    """Return the arrays by name, or raise ContractError."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MAX_BYTES or len(entries) > _MAX_ENTRIES:
                raise ContractError(
                    f"{len(entries)} arrays of {unpacked} bytes, at most {_MAX_ENTRIES} of {MAX_BYTES} are allowed"
                )
            return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as exc:
        raise ContractError(f"not an npz of plain arrays: {exc}") from exc


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Column:
    """Read one array whose header says exactly as many bytes as the entry holds: an array claims no memory by a lie."""
    with archive.open(entry) as stream:
        _require_honest(stream, entry)
    with archive.open(entry) as stream:
        found: Column = np.lib.format.read_array(stream, allow_pickle=False)
    return found


def _require_honest(stream: IO[bytes], entry: zipfile.ZipInfo) -> None:
    version = np.lib.format.read_magic(stream)
    if version not in _READ_HEADER:
        raise ContractError(f"array {entry.filename[:80]!r}: npy version {version}, expected 1.0 or 2.0")
    shape, _fortran, dtype = _READ_HEADER[version](stream)
    held = entry.file_size - stream.tell()
    if dtype.hasobject:
        raise ContractError(f"not an npz of plain arrays: {entry.filename[:80]!r} holds Python objects (a pickle)")
    if math.prod(shape) * dtype.itemsize != held:
        raise ContractError(f"array {entry.filename[:80]!r}: {dtype} {list(shape)} does not fill its {held} bytes")

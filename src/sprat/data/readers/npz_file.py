"""npz as numpy writes it, deflated or not: every size is bounded before its bytes are read, and no pickle is opened."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from sprat.data import npy
from sprat.data.table import MAX_BYTES, Column
from sprat.errors import ContractError
from sprat_device.contract.arrays import DAMAGE

_MAX_ENTRIES: Final = 4096


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
    except OSError:
        raise  # the disk, not the file: its reader says so
    except DAMAGE as exc:
        raise ContractError(f"not an npz of plain arrays: {exc}") from exc


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Column:
    """Read one array whose header says exactly as many bytes as the entry holds: an array claims no memory by a lie."""
    with archive.open(entry) as stream:
        header = npy.read_header(stream)
        held = entry.file_size - header.offset
        if header.size != held:
            raise ContractError(
                f"array {entry.filename[:80]!r}: {header.dtype} {list(header.shape)} does not fill its {held} bytes"
            )
        found = np.frombuffer(stream.read(), header.dtype)
    return found.reshape(header.shape, order="F" if header.fortran else "C")

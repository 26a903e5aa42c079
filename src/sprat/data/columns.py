"""The store of columns: each array once, under the hash of its type, shape and bytes, however many snapshots hold it.

`FOLDER/<sha256>.npy` is memory-mapped when it is read, so a data set that is larger than memory can be looked at.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

import numpy as np

from sprat.data import npy
from sprat.data.table import Column, whole_file
from sprat.errors import ContractError, WrongUse

_CHUNK: Final = 16 * 1024 * 1024


def digest(column: Column) -> str:
    """Return the SHA-256 of type, shape and values; nothing is copied where the values lie in order."""
    ordered = np.ascontiguousarray(column)
    hashed = hashlib.sha256(json.dumps([ordered.dtype.str, list(ordered.shape)]).encode())
    plain = ordered.reshape(-1).view(np.uint8)
    for start in range(0, plain.size, _CHUNK):
        hashed.update(plain[start : start + _CHUNK].data)
    return hashed.hexdigest()


def keep(folder: Path, column: Column) -> str:
    """Write a column where it is not there yet, or not whole any more, and return its digest."""
    sha256 = digest(column)
    path = folder / f"{sha256}.npy"
    if not _holds(path, sha256):
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(column), version=(1, 0), allow_pickle=False)
    return sha256


def read(folder: Path, sha256: str) -> Column:
    """Map a column and compare its content with its name, or raise WrongUse."""
    path = folder / f"{sha256}.npy"
    try:
        found = npy.map_file(path)
    except (OSError, ContractError) as exc:
        raise WrongUse(f"column {path}: cannot be read ({exc}); add the data again") from exc
    if digest(found) != sha256:
        raise WrongUse(f"column {path}: its content does not have the hash of its name; add the data again")
    return found


def _holds(path: Path, sha256: str) -> bool:
    try:
        return digest(npy.map_file(path)) == sha256
    except (OSError, ContractError):
        return False  # absent or torn: it is written anew

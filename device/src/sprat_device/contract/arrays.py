"""Named arrays as `.npz` bytes: stored, sorted, with fixed times, so that the same arrays always give the same bytes.

Reading never executes code (no pickles) and believes no size: entries are stored, bounded, and as long as they say.
"""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract import damage
from sprat_device.contract.errors import ContractError

FIXED_TIME: Final = (1980, 1, 1, 0, 0, 0)
DAMAGE: Final = (*damage.OF_ARCHIVES, TypeError, KeyError, AttributeError, SyntaxError, tokenize.TokenError)
"""What comes out of damaged archives and arrays, for every reader of them; numpy evaluates an array's header as a Python
literal."""
_MAX_ENTRIES: Final = 4096
_HEADER_BOUND: Final = 4096
_KINDS: Final = frozenset("biufSU")


def dump(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Encode arrays by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            plain = io.BytesIO()
            np.lib.format.write_array(plain, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            archive.writestr(zip_entry(f"{name}.npy"), plain.getvalue())
    return out.getvalue()


def parse(raw: bytes, *, max_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """Decode arrays by name, or raise ContractError."""
    if len(raw) > max_bytes:
        raise ContractError(f"arrays of {len(raw)} bytes, at most {max_bytes} are allowed")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_ENTRIES:
                raise ContractError(f"arrays: {len(entries)} entries, at most {_MAX_ENTRIES} are allowed")
            return {entry.filename.removesuffix(".npy"): _array(archive, entry, len(raw)) for entry in entries}
    except DAMAGE as exc:
        raise ContractError(f"arrays: not a readable npz ({exc})") from exc


def zip_entry(name: str) -> zipfile.ZipInfo:
    """Return an entry without traces of when and where it was made."""
    entry = zipfile.ZipInfo(name, FIXED_TIME)
    entry.create_system = 3  # Unix, whatever the workstation is
    entry.external_attr = 0o644 << 16
    return entry


def require_stored(entry: zipfile.ZipInfo, bound: int) -> None:
    """Refuse an entry that is compressed, encrypted or larger than `bound`: nothing unpacks to more than it shows."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1:
        raise ContractError(f"entry {entry.filename[:80]!r}: must be stored, neither compressed nor encrypted")
    if entry.file_size != entry.compress_size or entry.file_size > bound:
        raise ContractError(f"entry {entry.filename[:80]!r}: {entry.file_size} bytes, at most {bound} are allowed")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, bound: int) -> npt.NDArray[Any]:
    require_stored(entry, bound)
    raw = archive.read(entry)
    stream = io.BytesIO(raw)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ContractError(f"array {entry.filename[:80]!r}: expected npy version 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=_HEADER_BOUND)
    if dtype.kind not in _KINDS or math.prod(shape) * dtype.itemsize != len(raw) - stream.tell():
        raise ContractError(f"array {entry.filename[:80]!r}: its bytes do not fill {dtype} {shape}")
    return np.frombuffer(raw, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")

"""A small document kept twice, where its loss would keep a device from its work: `NAME` and `NAME.copy`.

Each is written whole or not at all, the copy after the document, so a cut leaves at most an older copy. The copy counts
only where the document is there and cannot be read: who removes it means that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError

T = TypeVar("T")
UNREADABLE = (OSError, ValueError, ContractError, RecursionError)
"""What a worn block makes of a document: it is not given, or it is not what was written."""


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What was read: nothing where there is no document, or neither it nor its copy is whole."""

    value: T | None = None
    fault: str = ""
    """Why the document itself could not be read."""


def copy_of(path: Path) -> Path:
    """Return where the copy of a document stands."""
    return path.with_name(f"{path.name}.copy")


def write(files: Files, path: Path, data: bytes) -> None:
    """Write a document and its copy durably."""
    files.write_atomic(path, data)
    files.write_atomic(copy_of(path), data)


def read(files: Files, path: Path, parse: Callable[[bytes], T]) -> Found[T]:
    """Read a document, or its copy where it is damaged; `parse` raises ValueError or ContractError."""
    try:
        return Found(parse(files.read(path)))
    except FileNotFoundError:
        return Found()
    except UNREADABLE as exc:
        fault = str(exc) or type(exc).__name__
    try:
        return Found(parse(files.read(copy_of(path))), fault)
    except UNREADABLE:
        return Found(fault=fault)


def renew_copy(files: Files, path: Path) -> None:
    """Make the copy what the document is: of a device from before there were copies, or after a cut."""
    data, copy = files.read(path), copy_of(path)
    try:
        same = files.read(copy) == data
    except OSError:
        same = False
    if not same:
        files.write_atomic(copy, data)

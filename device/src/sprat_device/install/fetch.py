"""Fetches one bundle into a `.part` beside its place, resuming where a cut left it, and gives it its name when whole.

Bounds before trust: no byte beyond the signed length is kept, a sender that is too slow is left, and the file gets its
name only after its SHA-256 is the signed one and it is on the disk.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.phases import Reason
from sprat_device.install.origins import Origin, TryLater

SYNC_EVERY: Final = 256 * 1024
_GRACE_US: Final = 10_000_000
"""The rate is judged from here on: the first answer of a busy hub may take a moment."""


Watch = Callable[[Iterator[bytes]], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow a transfer may be, and how fast; 0 is no limit."""

    minimum_bytes_per_s: int
    total_s: float
    maximum_bytes_per_s: int = 0

    @property
    def least_bytes_per_s(self) -> float:
        """Return the rate below which a sender is too slow: who is slowed down by us is not."""
        most = self.maximum_bytes_per_s
        return min(self.minimum_bytes_per_s, most / 2) if most else self.minimum_bytes_per_s


@dataclass(frozen=True, slots=True)
class Wanted:
    """A signed file."""

    stored_as: str
    length: int
    sha256: str


def fetch(
    wanted: Wanted, origin: Origin, *, part: Path, target: Path, files: Files, clock: Clock, pace: Pace,
    sleep: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Bring `target` into being, or raise TryLater or BundleRefused."""
    if files.exists(target):
        if _sha256(files, target) == wanted.sha256:
            return
        files.unlink(target)  # damaged on this disk
    _complete(wanted, origin, part, files, lambda chunks: paced(chunks, clock, pace, sleep))
    found = _sha256(files, part)
    if found != wanted.sha256:
        files.unlink(part)
        files.sync_folder(part.parent)
        raise BundleRefused(
            Reason.HASH_MISMATCH, f"fetched bundle has SHA-256 {found[:12]}…, signed is {wanted.sha256[:12]}…"
        )
    files.rename(part, target)
    files.sync_folder(target.parent)


def _complete(wanted: Wanted, origin: Origin, part: Path, files: Files, watched: Watch) -> None:
    held = files.size(part) if files.exists(part) else 0
    if held > wanted.length:
        files.truncate(part, 0)
        held = 0
    if held == wanted.length:
        return
    begin, chunks = origin.target(wanted.stored_as, held)
    if begin != held:
        files.truncate(part, begin)
    _append(watched(chunks), wanted.length - begin, part, files)


def _append(chunks: Iterator[bytes], missing: int, part: Path, files: Files) -> None:
    file = files.append(part)
    unsynced = 0
    try:
        for chunk in chunks:
            if len(chunk) > missing:
                raise BundleRefused(Reason.LENGTH_MISMATCH, "the hub sends more bytes than are signed")
            file.write(chunk)
            missing -= len(chunk)
            unsynced += len(chunk)
            if unsynced >= SYNC_EVERY:
                file.sync()
                unsynced = 0
        file.sync()
    finally:
        file.close()
    if missing:
        raise TryLater(f"the transfer broke off, {missing} bytes are missing")


def paced(
    chunks: Iterator[bytes], clock: Clock, pace: Pace, sleep: Callable[[float], None] = time.sleep
) -> Iterator[bytes]:
    """Pass chunks on, no faster than they may; raise TryLater once they come too slowly."""
    began_us = clock.monotonic_us()
    count = 0
    for chunk in chunks:
        count += len(chunk)
        passed_us = clock.monotonic_us() - began_us
        if passed_us > pace.total_s * 1_000_000:
            raise TryLater(f"the transfer took longer than {pace.total_s:g} s", Reason.TOO_SLOW)
        if passed_us > _GRACE_US and count * 1_000_000 < pace.least_bytes_per_s * passed_us:
            raise TryLater(f"the transfer is slower than {pace.least_bytes_per_s:g} bytes a second", Reason.TOO_SLOW)
        yield chunk
        if pace.maximum_bytes_per_s:
            ahead_s = count / pace.maximum_bytes_per_s - (clock.monotonic_us() - began_us) / 1e6
            sleep(max(0.0, ahead_s))


def _sha256(files: Files, path: Path) -> str:
    with files.open_read(path) as file:
        digest = hashlib.sha256()
        while chunk := file.read(SYNC_EVERY):
            digest.update(chunk)
        return digest.hexdigest()

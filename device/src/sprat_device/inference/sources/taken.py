"""Which files of a folder were taken, over restarts and whatever the clock says: eight bytes for each.

A file is known by its name, inode and change time together, so one that is written anew is another. The journal in the state
folder is appended to every few seconds and at the close, without a sync: after a power cut some seconds are read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from array import array
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

_EACH_S: Final = 5.0
_SPARE: Final = 1024
_KEY_BYTES: Final = 8


def key_of(*what: object) -> int:
    """Return a short name of a file: equal ones are the same but for one chance in 2**64."""
    digest = hashlib.blake2b("\0".join(map(str, what)).encode("utf-8", "surrogateescape"), digest_size=_KEY_BYTES)
    return int.from_bytes(digest.digest(), "little")


class Taken:
    """The files that were taken, as far as they may still be there."""

    def __init__(self, file: Path | None, of: str, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """Read what was kept for `of`; without a file nothing outlives the process."""
        self._file = file
        self._of = key_of(of)
        self._now_s = now_s
        self._due_s = now_s()
        self._keys, torn = self._kept()
        self._unsaved = array("Q")
        self._whole = torn or not self._keys
        """Whether the journal has to be written from its beginning: also behind a torn end, where nothing could be read."""

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: int) -> None:
        """Take note of one; it is written when that is due."""
        self._keys.add(key)
        self._unsaved.append(key)
        if self._now_s() >= self._due_s:
            self.save()

    def forget_all_but(self, present: Collection[int]) -> None:
        """Forget files that are gone, once they are many."""
        if len(self._keys) > 2 * len(present) + _SPARE:
            self._keys.intersection_update(present)
            self._whole = True

    def save(self) -> None:
        """Write what is not written; a full disk or a read-only one does not stop a source."""
        if self._file is None or not (self._unsaved or self._whole):
            return
        self._due_s = self._now_s() + _EACH_S
        with contextlib.suppress(OSError):
            if self._whole:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                partial = self._file.with_name(f"{self._file.name}.part")
                partial.write_bytes(array("Q", [self._of, *self._keys]).tobytes())
                partial.replace(self._file)
            else:
                with self._file.open("ab") as journal:
                    journal.write(self._unsaved.tobytes())
            self._whole = False
            self._unsaved = array("Q")

    def _kept(self) -> tuple[set[int], bool]:
        """Return what was kept, and whether the last of it is torn."""
        try:
            raw = b"" if self._file is None else self._file.read_bytes()
        except OSError:
            return set(), False
        torn = len(raw) % _KEY_BYTES
        found = array("Q")
        found.frombytes(raw[: len(raw) - torn])
        return (set(found[1:]) if found and found[0] == self._of else set()), bool(torn)

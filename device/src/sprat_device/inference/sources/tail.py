"""A file that another program appends lines to, followed by its name: it may be rotated, truncated, or not yet there."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.inference.sources.descriptor import TOO_LONG
from sprat_device.inference.sources.item import Item, arrived, open_at_once
from sprat_device.inference.sources.place import Place
from sprat_device.inference.sources.splitting import Lines

_POLL_S: Final = 0.1
_CHUNK: Final = 64 * 1024
_HEAD: Final = 64


class Tail:
    """What `tail -F` does, from where it was left at the last end."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        place: Place,
        *,
        from_start: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Follow a file; without a place kept, from its end, or `from_start`. A file that comes later is read whole."""
        self._path = path
        self._clock = clock
        self._place = place
        self._sleep = sleep
        self._file: FileIO | None = None
        self._lines = Lines()
        self._begun = 0
        self._left = place.last()
        """The place kept by the run before, until there is a file: it may be on a disk that is not there yet."""
        self._reopen(from_start=from_start)

    def take(self, timeout_s: float) -> Item | None:
        """Return the next line."""
        left_s = timeout_s
        while (line := self._lines.pop()) is None:
            if self._fill() or self._follow():
                continue
            if left_s <= 0:
                return None
            self._sleep(min(_POLL_S, left_s))
            left_s -= _POLL_S
        self._keep()
        return arrived(self._clock, line, fault="" if line else TOO_LONG)

    def close(self) -> None:
        """Keep the place and close the file."""
        self._place.save()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _reopen(self, *, from_start: bool) -> bool:
        self._open()
        if self._file is None:
            return False
        last, self._left = self._left, {}
        status = os.fstat(self._file.fileno())
        # An inode may be given to another file later, so the beginning has to be the same too.
        same = last.get("inode") == status.st_ino and self._head().startswith(str(last.get("head")))
        kept = last.get("offset")
        if same and isinstance(kept, int) and kept <= status.st_size:
            self._begun = kept
        elif not last and not from_start:
            self._begun = status.st_size
        self._file.seek(self._begun)
        return True

    def _open(self) -> bool:
        try:
            # Unbuffered: what is read is what was appended up to now.
            self._file = open_at_once(self._path)
        except FileNotFoundError:
            self._file = None
        if self._file is not None and not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._file.close()
            raise OSError(errno.EINVAL, "is no plain file; read a pipe by kind = 'command'", str(self._path))
        self._lines = Lines()
        self._begun = 0
        return self._file is not None

    def _fill(self) -> bool:
        if self._file is None:
            return False
        chunk = self._file.read(_CHUNK)
        if chunk:
            self._lines.push(chunk)
        return bool(chunk)

    def _follow(self) -> bool:
        """At the end of what there is: go on in a new file of the name, or at the start of one cut short."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False  # between the two steps of a rotation
        if self._file is None:
            return self._reopen(from_start=True)
        own = os.fstat(self._file.fileno())
        if (status.st_ino, status.st_dev) != (own.st_ino, own.st_dev):
            # Something may have been appended between our last read and the rotation.
            if self._fill():
                return True
            self._file.close()
            return self._open()
        if status.st_size < self._file.tell():
            self._file.seek(0)
            self._lines, self._begun = Lines(), 0
            return True
        return False

    def _keep(self) -> None:
        if self._file is not None:
            inode, offset = os.fstat(self._file.fileno()).st_ino, self._begun + self._lines.consumed
            self._place.keep({"inode": inode, "head": self._head(), "offset": offset})

    def _head(self) -> str:
        return "" if self._file is None else os.pread(self._file.fileno(), _HEAD, 0).hex()

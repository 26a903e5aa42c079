"""A state folder that cannot be written: what is there is read, small writes are held in memory until the process ends.

So an agent on a full or read-only disk still knows its slots and answers; what it decides meanwhile is forgotten, and is
decided again. Logs that grow are refused: who keeps one counts what it loses.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path
from typing import BinaryIO, Final

from sprat_device.board.files import Appender, Files, OsFiles

MOST_BYTES: Final = 1024 * 1024
"""All that is held together: twins, slots and records are a few KiB each."""
_PROBE: Final = ".writable"


def why_not_writable(state: Path, files: Files) -> str:
    """Return why a folder cannot be written, empty where it can: a small file is made durably, and removed."""
    probe = state / _PROBE
    try:
        files.write_atomic(probe, bytes(4096))
        files.unlink(probe)
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""


class HeldFiles(OsFiles):
    """The real disk for reading; writes stay in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Path, bytes | None] = {}
        self._folders: set[Path] = set()

    def read(self, path: Path) -> bytes:
        """Return the whole content."""
        if path not in self._held:
            return super().read(path)
        held = self._held[path]
        if held is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return held

    def open_read(self, path: Path) -> BinaryIO:
        """Open for reading."""
        return io.BytesIO(self.read(path)) if path in self._held else super().open_read(path)

    def exists(self, path: Path) -> bool:
        """Tell whether a file or folder is there."""
        return self._held[path] is not None if path in self._held else path in self._folders or super().exists(path)

    def size(self, path: Path) -> int:
        """Return the length in bytes."""
        return len(self.read(path)) if path in self._held else super().size(path)

    def list(self, folder: Path) -> list[Path]:
        """Return the entries of a folder, sorted by name."""
        there = set(super().list(folder)) if folder.is_dir() or folder not in self._folders else set[Path]()
        now = self._held.copy()  # another thread may hold one file more meanwhile
        held = {path for path, data in now.items() if path.parent == folder and data is not None}
        gone = {path for path, data in now.items() if data is None}
        return sorted((there | held) - gone)

    def free_bytes(self, path: Path) -> int:  # noqa: ARG002 - the port's signature
        """Return 0: nothing may be written."""
        return 0

    def write_atomic(self, path: Path, data: bytes) -> None:
        """Hold a file's content."""
        with self._lock:
            others = sum(len(held) for place, held in self._held.items() if held is not None and place != path)
            if others + len(data) > MOST_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            self._held[path] = bytes(data)

    def create(self, path: Path) -> Appender:
        """Refuse: what grows is not held."""
        raise _read_only(path)

    def append(self, path: Path) -> Appender:
        """Refuse: what grows is not held."""
        raise _read_only(path)

    def truncate(self, path: Path, size: int) -> None:  # noqa: ARG002 - the port's signature
        """Refuse."""
        raise _read_only(path)

    def rename(self, source: Path, target: Path) -> None:
        """Give what is held another name; what is on the disk stays."""
        if self._held.get(source) is None:
            raise _read_only(source)
        self._held[target] = self._held[source]
        self._held[source] = None

    def unlink(self, path: Path) -> None:
        """Take a file for removed."""
        if not self.exists(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        self._held[path] = None

    def make_folder(self, path: Path) -> None:
        """Take a folder and its parents for made."""
        self._folders |= {path, *path.parents}

    def remove_folder(self, path: Path) -> None:
        """Take a folder for removed."""
        self._folders.discard(path)

    def sync_folder(self, path: Path) -> None:
        """Do nothing: nothing is on its way to the disk."""


def _read_only(path: Path) -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

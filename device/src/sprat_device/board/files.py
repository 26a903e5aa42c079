"""The device's disk as a port: every durable write of the device goes through `Files`.

A write is durable only after `sync` of its bytes and `sync_folder` of its name, and the two are separate on purpose:
`tests/faults/disk.py` cuts the power between any two of these operations.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final, Protocol

_MODE: Final = 0o600
"""Telemetry and identity are for the agent alone."""


class Appender(Protocol):
    """A file open for appending."""

    def write(self, data: bytes) -> None:
        """Append all of `data`, or raise OSError (a part may then have been written)."""

    def sync(self) -> None:
        """Return once every appended byte is on the disk (fdatasync)."""

    def close(self) -> None:
        """Close without syncing."""


class Files(Protocol):
    """What the device asks of its disk; all of it raises OSError as the operating system does."""

    def read(self, path: Path) -> bytes:
        """Return the whole content."""

    def open_read(self, path: Path) -> BinaryIO:
        """Open for reading."""

    def exists(self, path: Path) -> bool:
        """Tell whether a file or folder is there."""

    def size(self, path: Path) -> int:
        """Return the length in bytes."""

    def list(self, folder: Path) -> list[Path]:
        """Return the entries of a folder, sorted by name."""

    def free_bytes(self, path: Path) -> int:
        """Return how much an ordinary user may still write where `path` (an existing file or folder) is."""

    def write_atomic(self, path: Path, data: bytes) -> None:
        """Replace a file durably: after a power cut it holds either the old bytes or the new ones."""

    def create(self, path: Path) -> Appender:
        """Open a file for appending, empty, whatever it held."""

    def append(self, path: Path) -> Appender:
        """Open a file for appending, making it if it is absent."""

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to `size` bytes, durably."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing `target`; durable after `sync_folder`."""

    def unlink(self, path: Path) -> None:
        """Remove a file; durable after `sync_folder`."""

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents, durably; an existing one is fine."""

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder; durable after `sync_folder` of its parent."""

    def sync_folder(self, path: Path) -> None:
        """Return once the names in a folder are on the disk."""


class OsAppender:
    """An appender over a file descriptor."""

    def __init__(self, path: Path, *, flags: int) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | flags, _MODE)

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        rest = memoryview(data)
        while rest:  # a nearly full disk accepts a part of a write before it refuses the rest
            rest = rest[os.write(self._fd, rest) :]

    def sync(self) -> None:
        """Return once every appended byte is on the disk."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close without syncing."""
        os.close(self._fd)


class OsFiles:
    """The real disk."""

    def read(self, path: Path) -> bytes:
        """Return the whole content."""
        return path.read_bytes()

    def open_read(self, path: Path) -> BinaryIO:
        """Open for reading."""
        return path.open("rb")

    def exists(self, path: Path) -> bool:
        """Tell whether a file or folder is there."""
        return path.exists()

    def size(self, path: Path) -> int:
        """Return the length in bytes."""
        return path.stat().st_size

    def list(self, folder: Path) -> list[Path]:
        """Return the entries of a folder, sorted by name."""
        return sorted(folder.iterdir())

    def free_bytes(self, path: Path) -> int:
        """Return how much an ordinary user may still write where `path` is."""
        facts = os.statvfs(path)
        return facts.f_bavail * facts.f_frsize

    def write_atomic(self, path: Path, data: bytes) -> None:
        """Replace a file durably."""
        fresh = path.with_name(f".{path.name}.new")  # one fixed name: what a power cut leaves is overwritten next time
        file = self.create(fresh)
        try:
            file.write(data)
            file.sync()  # before the rename: the rename may reach flash before the data
        finally:
            file.close()
        self.rename(fresh, path)
        self.sync_folder(path.parent)

    def create(self, path: Path) -> Appender:
        """Open a file for appending, empty, whatever it held."""
        return OsAppender(path, flags=os.O_TRUNC)

    def append(self, path: Path) -> Appender:
        """Open a file for appending, making it if it is absent."""
        return OsAppender(path, flags=0)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to `size` bytes, durably."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing `target`."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents, durably."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        self._mkdir(path)
        self.sync_folder(path.parent)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def sync_folder(self, path: Path) -> None:
        """Return once the names in a folder are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _mkdir(self, path: Path) -> None:
        path.mkdir(mode=0o700, exist_ok=True)

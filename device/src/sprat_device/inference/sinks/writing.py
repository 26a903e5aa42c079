"""Lines of JSON to standard output, or to a file that is rotated by its size."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

from sprat_device.inference.sinks.told import Told


class Stream:
    """Writes to a descriptor that belongs to the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def give(self, told: Told) -> None:
        """Write one line whole."""
        left = memoryview(told.line)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def close(self) -> None:
        """Leave the descriptor open."""


class Rotated:
    """`path` is the newest file, `path.1` the one before, up to `path.KEEP`. Nothing is synced: lines are for now."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        """Open for appending; OSError where that cannot be."""
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._open()

    def give(self, told: Told) -> None:
        """Write one line, in a new file if it does not fit into this one."""
        line = told.line
        if self._size and self._size + len(line) > self._max_bytes:
            self._rotate()
        written = self._file.write(line)
        self._size += written
        if written < len(line):
            # A full disk takes a part. It is taken back, so that every line that is there is whole.
            self._size -= written
            self._file.truncate(self._size)
            raise OSError(28, "no space left on the disk", str(self._path))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> None:
        self._file: FileIO = self._path.open("ab", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._keep, 1, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if self._keep:
            self._path.replace(self._numbered(1))
        else:
            self._path.unlink(missing_ok=True)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

"""A disk that loses its power at the n-th write, and one that is full.

`CuttingFiles(cut_at=n)` counts mutating operations (those inside `write_atomic` one by one) and at the n-th changes
the real folder into what a power cut leaves, then raises PowerCut, now and at every later operation (the process is
dead). What was not synced is lost, torn or kept, by `loss`; reboot = open the same folder with OsFiles or a new
CuttingFiles. A sweep: count the operations of a scenario with `cut_at=None`, then run it once per n and per loss. Durability is
modelled, not asked of the real disk, so sweeps are quick.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sprat_device.board.files import Appender, OsFiles


class PowerCut(BaseException):
    """The power is gone; not an Exception, so that no error handling of the code under test survives it."""


class Loss(StrEnum):
    """What becomes of bytes and names that were not synced."""

    LOST = "lost"
    TORN = "torn"
    """Half of the bytes survive, followed by zeros; the older half of the changes of names survives."""
    KEPT = "kept"
    """All survives, as after `kill -9`."""


@dataclass
class _Name:
    """A change of names that is not synced yet, and how the disk looked before."""

    folders: set[Path]
    undo: Callable[[], None]


class CuttingFiles(OsFiles):
    """The real disk until the power is cut."""

    def __init__(self, cut_at: int | None = None, *, loss: Loss = Loss.TORN) -> None:
        self.cut_at = cut_at
        self.loss = loss
        self.operations = 0
        self.dead = False
        self._synced: dict[Path, int] = {}  # bytes on the disk of each file that has more in flight
        self._names: list[_Name] = []
        self._open: list[_CuttingAppender] = []

    def create(self, path: Path) -> Appender:
        """Open a file for appending, empty."""
        self._operation()
        before = path.read_bytes() if path.exists() else None
        file = super().create(path)
        self._synced[path] = 0
        self._renamed({path.parent}, lambda: _restore(path, before))
        return self._opened(path, file)

    def append(self, path: Path) -> Appender:
        """Open a file for appending."""
        if not path.exists():
            return self.create(path)
        self._alive()
        return self._opened(path, super().append(path))

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file, durably."""
        self._operation()
        os.truncate(path, size)
        self._synced.pop(path, None)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, not durable yet."""
        self._operation()
        before = target.read_bytes() if target.exists() else None
        super().rename(source, target)
        self._synced.pop(target, None)
        if source in self._synced:
            self._synced[target] = self._synced.pop(source)

        def undo() -> None:
            target.replace(source)
            _restore(target, before)

        self._renamed({source.parent, target.parent}, undo)

    def unlink(self, path: Path) -> None:
        """Remove, not durable yet."""
        self._operation()
        before = path.read_bytes()[: self._synced.pop(path, None)]
        super().unlink(path)
        self._renamed({path.parent}, lambda: _restore(path, before))

    def remove_folder(self, path: Path) -> None:
        """Remove a folder, not durable yet."""
        self._operation()
        super().remove_folder(path)
        self._renamed({path.parent}, lambda: path.mkdir(exist_ok=True))

    def sync_folder(self, path: Path) -> None:
        """Make the names of a folder durable."""
        self._operation()
        for name in self._names:
            name.folders.discard(path)
        self._names = [name for name in self._names if name.folders]

    def _mkdir(self, path: Path) -> None:
        self._operation()
        super()._mkdir(path)
        self._renamed({path.parent}, lambda: shutil.rmtree(path, ignore_errors=True))

    def _renamed(self, folders: set[Path], undo: Callable[[], None]) -> None:
        self._names.append(_Name(set(folders), undo))

    def _opened(self, path: Path, file: Appender) -> Appender:
        self._open.append(_CuttingAppender(self, path, file))
        return self._open[-1]

    def _alive(self) -> None:
        if self.dead:
            raise PowerCut

    def _operation(self, torn_write: Callable[[], None] | None = None) -> None:
        self._alive()
        self.operations += 1
        if self.operations == self.cut_at:
            if torn_write is not None:
                torn_write()
            self.dead = True
            self._lose()
            for file in self._open:  # a dead process holds no files
                file.close()
            raise PowerCut

    def _lose(self) -> None:
        if self.loss is Loss.KEPT:
            return
        for path, synced in self._synced.items():
            if path.exists():
                _tear(path, synced, keep=self.loss is Loss.TORN)
        survivors = len(self._names) // 2 if self.loss is Loss.TORN else 0
        for name in reversed(self._names[survivors:]):
            if all(folder.is_dir() for folder in name.folders):  # else the folder itself is durably gone
                name.undo()


class _CuttingAppender:
    def __init__(self, disk: CuttingFiles, path: Path, file: Appender) -> None:
        self._disk = disk
        self._path = path
        self._file = file
        self._closed = False

    def write(self, data: bytes) -> None:
        self._disk._synced.setdefault(self._path, self._path.stat().st_size)
        self._disk._operation(lambda: self._file.write(data[: len(data) // 2]))
        self._file.write(data)

    def sync(self) -> None:
        self._disk._operation()
        self._disk._synced.pop(self._path, None)

    def close(self) -> None:
        if not self._closed:  # the power cut may have come first
            self._closed = True
            self._file.close()


def _tear(path: Path, synced: int, *, keep: bool) -> None:
    size = path.stat().st_size
    survives = synced + (size - synced) // 2 if keep else synced
    os.truncate(path, survives)
    if keep:
        os.truncate(path, size)  # the length reached the disk, the data behind it did not: zeros


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)


class SickDisk(OsFiles):
    """A disk that refuses every change while `ail` holds an error number: full, read-only or broken."""

    def __init__(self) -> None:
        self.ail: int | None = None
        self.refused = 0

    def create(self, path: Path) -> Appender:
        """Open a file for appending, empty."""
        self._well()
        return _SickAppender(self, super().create(path))

    def append(self, path: Path) -> Appender:
        """Open a file for appending."""
        self._well()
        return _SickAppender(self, super().append(path))

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file."""
        self._well()
        super().truncate(path, size)

    def rename(self, source: Path, target: Path) -> None:
        """Rename."""
        self._well()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        """Remove."""
        self._well()
        super().unlink(path)

    def _mkdir(self, path: Path) -> None:
        self._well()
        super()._mkdir(path)

    def _well(self) -> None:
        if self.ail is not None:
            self.refused += 1
            raise OSError(self.ail, os.strerror(self.ail))


class _SickAppender:
    def __init__(self, disk: SickDisk, file: Appender) -> None:
        self._disk = disk
        self._file = file

    def write(self, data: bytes) -> None:
        self._disk._well()
        self._file.write(data)

    def sync(self) -> None:
        self._disk._well()
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class FullDisk(OsFiles):
    """A disk with `room` bytes left; a write that exceeds it writes what fits, then fails with ENOSPC."""

    def __init__(self, room: int) -> None:
        self.room = room

    def create(self, path: Path) -> Appender:
        """Open a file for appending, empty; its old bytes are room again."""
        self.room += path.stat().st_size if path.exists() else 0
        return _FullAppender(self, super().create(path))

    def append(self, path: Path) -> Appender:
        """Open a file for appending."""
        return _FullAppender(self, super().append(path))

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file; what is cut is room again."""
        self.room += path.stat().st_size - size
        super().truncate(path, size)

    def rename(self, source: Path, target: Path) -> None:
        """Rename; a replaced file is room again."""
        self.room += target.stat().st_size if target.exists() else 0
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        """Remove; its bytes are room again."""
        self.room += path.stat().st_size
        super().unlink(path)


class _FullAppender:
    def __init__(self, disk: FullDisk, file: Appender) -> None:
        self._disk = disk
        self._file = file

    def write(self, data: bytes) -> None:
        fits = data[: max(0, self._disk.room)]
        self._file.write(fits)
        self._disk.room -= len(fits)
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()

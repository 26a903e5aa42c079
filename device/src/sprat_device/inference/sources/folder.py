"""A folder into which other programs put one file per reading: `.npy`, `.npz`, `.json`, `.ppm`, `.pgm`, `.raw`, `.bin`.

Files are taken in the order in which they came (inode change time, which a rename sets). Writers rename a finished file into
the folder; names that begin with a dot or end in `.part` or `.tmp` are not yet finished. Nothing is deleted.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.inference.sources.item import Item, arrived
from sprat_device.inference.sources.place import Place
from sprat_device.inference.sources.splitting import MOST_RECORD

_POLL_S: Final = 0.1
_SUFFIXES: Final = frozenset({".npy", ".npz", ".json", ".ppm", ".pgm", ".raw", ".bin"})


class Folder:
    """Remembers only up to which time it has read, so it may run for years."""

    def __init__(
        self, folder: Path, clock: Clock, place: Place, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder; make it", str(folder))
        self._folder = folder
        self._clock = clock
        self._place = place
        self._sleep = sleep
        self._waiting: deque[tuple[int, str]] = deque()
        last = place.last()
        self._newest_ns = int(last.get("newest_ns", -1))
        self._seen: set[str] = set(map(str, last.get("names", ())))
        """Names seen at `_newest_ns`: several files may share one time."""
        self._taken_ns = self._newest_ns
        self._taken = set(self._seen)

    def take(self, timeout_s: float) -> Item | None:
        """Return the next file; one that cannot be read is told as such, a folder that is gone is an OSError."""
        left_s = timeout_s
        while not self._waiting:
            self._scan()
            if self._waiting:
                break
            if left_s <= 0:
                return None
            self._sleep(min(_POLL_S, left_s))
            left_s -= _POLL_S
        changed_ns, name = self._waiting.popleft()
        item = self._item(self._folder / name)
        if changed_ns > self._taken_ns:
            self._taken_ns = changed_ns
            self._taken.clear()
        self._taken.add(name)
        self._place.keep({"newest_ns": self._taken_ns, "names": sorted(self._taken)})
        return item

    def close(self) -> None:
        """Keep the place."""
        self._place.save()

    def _scan(self) -> None:
        found: list[tuple[int, str]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or Path(name).suffix not in _SUFFIXES:
                    continue
                try:
                    changed_ns = entry.stat().st_ctime_ns
                except FileNotFoundError:
                    continue  # taken away between the listing and the look
                if changed_ns > self._newest_ns or (changed_ns == self._newest_ns and name not in self._seen):
                    found.append((changed_ns, name))
        for changed_ns, name in sorted(found):
            if changed_ns > self._newest_ns:
                self._newest_ns = changed_ns
                self._seen.clear()
            self._seen.add(name)
            self._waiting.append((changed_ns, name))

    def _item(self, path: Path) -> Item:
        try:
            with path.open("rb") as file:
                payload = file.read(MOST_RECORD + 1)
        except OSError as exc:
            return arrived(self._clock, b"", fault=f"{path.name}: {exc.strerror or exc}")
        if len(payload) > MOST_RECORD:
            return arrived(self._clock, b"", fault=f"{path.name}: more than {MOST_RECORD >> 20} MiB")
        return arrived(self._clock, payload, form=path.suffix)

"""A folder into which other programs put one file per reading: `.npy`, `.npz`, `.json`, `.ppm`, `.pgm`, `.raw`, `.bin`.

Those that are found together are taken in the order in which they came (inode change time, which a rename sets);
nothing else is asked of the wall clock. Writers rename a finished file into the folder; names that begin with a dot or end in `.part` or
`.tmp` are not yet finished. Nothing is deleted.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.inference.sources.item import Item, arrived, open_at_once
from sprat_device.inference.sources.splitting import MOST_RECORD
from sprat_device.inference.sources.taken import Taken, key_of

_POLL_S: Final = 0.1
_COARSEST_US: Final = 2_500_000
"""FAT, as on many a card and stick, tells a folder's time to two seconds: what comes within them changes nothing that shows."""
_SUFFIXES: Final = frozenset({".npy", ".npz", ".json", ".ppm", ".pgm", ".raw", ".bin"})


class Folder:
    """Gives each finished file once, over restarts too."""

    def __init__(
        self, folder: Path, clock: Clock, taken: Taken, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder; make it", str(folder))
        self._folder = folder
        self._clock = clock
        self._taken = taken
        self._sleep = sleep
        self._waiting: deque[tuple[int, str]] = deque()
        self._changed_ns = self._scanned_ns = -1
        self._once_more_us: int | None = None

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
        key, name = self._waiting.popleft()
        self._taken.add(key)
        return self._item(self._folder / name)

    def close(self) -> None:
        """Keep what was taken."""
        self._taken.save()

    def _scan(self) -> None:
        """List what is new; only called once all that was listed before is taken."""
        changed_ns = self._folder.stat().st_mtime_ns
        if not self._may_be_new(changed_ns):
            return
        # Times are coarse: what came within the same tick as the last look is seen by looking once more.
        self._scanned_ns, self._changed_ns = self._changed_ns, changed_ns
        found: list[tuple[int, str, int]] = []
        present: list[int] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or Path(name).suffix not in _SUFFIXES:
                    continue
                try:
                    status = entry.stat()
                except OSError:
                    continue  # taken away between the listing and the look, or a link to nowhere
                if not stat.S_ISREG(status.st_mode):
                    continue  # a pipe would be waited for, and never end
                key = key_of(name, status.st_ino, status.st_ctime_ns)
                present.append(key)
                if key not in self._taken:
                    found.append((status.st_ctime_ns, name, key))
        self._waiting += [(key, name) for _changed_ns, name, key in sorted(found)]
        self._taken.forget_all_but(present)

    def _may_be_new(self, changed_ns: int) -> bool:
        now_us = self._clock.monotonic_us()
        if changed_ns != self._changed_ns:
            self._once_more_us = now_us + _COARSEST_US
        elif changed_ns == self._scanned_ns:
            if self._once_more_us is None or now_us < self._once_more_us:
                return False
            self._once_more_us = None
        return True

    def _item(self, path: Path) -> Item:
        try:
            with BufferedReader(open_at_once(path)) as file:
                payload = file.read(MOST_RECORD + 1)
        except OSError as exc:
            return arrived(self._clock, b"", fault=f"{path.name}: {exc.strerror or exc}")
        if len(payload) > MOST_RECORD:
            return arrived(self._clock, b"", fault=f"{path.name}: more than {MOST_RECORD >> 20} MiB")
        return arrived(self._clock, payload, form=path.suffix)

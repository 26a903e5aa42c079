"""A folder into which other programs put one file per reading: `.npy`, `.npz` or `.json`.

Files are taken in the order in which they came (inode change time, which a rename sets). Writers rename a finished file into
the folder; names that begin with a dot or end in `.part` or `.tmp` are not yet finished. Nothing is deleted.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.board.clock import Clock
from sprat_device.contract.errors import WrongUse
from sprat_device.inference.sources import replay
from sprat_device.inference.sources.reading import Reading, parsed

_POLL_S: Final = 0.1
_SUFFIXES: Final = frozenset({".npy", ".npz", ".json"})


class Folder:
    """Remembers only up to which time it has read, so it may run for years."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        wanted: Mapping[str, np.dtype[Any]],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not folder.is_dir():
            raise WrongUse(f"{folder}: no such folder; make it, then start again")
        self._folder = folder
        self._clock = clock
        self._wanted = wanted
        self._sleep = sleep
        self._waiting: deque[Path] = deque()
        self._newest_ns = -1
        self._taken: set[str] = set()
        """Names taken at `_newest_ns`: several files may share one time."""
        self._index = 0

    def read(self, timeout_s: float) -> Reading | None:
        """Return the reading of the next file; one that cannot be read is one without inputs."""
        left_s = timeout_s
        while not self._waiting:
            self._scan()
            if self._waiting:
                break
            if left_s <= 0:
                return None
            self._sleep(min(_POLL_S, left_s))
            left_s -= _POLL_S
        inputs = self._inputs(self._waiting.popleft())
        reading = Reading(self._index, self._clock.monotonic_us(), self._clock.wall_us(), inputs)
        self._index += 1
        return reading

    def close(self) -> None:
        """Nothing is open."""

    def _scan(self) -> None:
        found: list[tuple[int, str]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or Path(name).suffix not in _SUFFIXES:
                    continue
                changed_ns = entry.stat().st_ctime_ns
                if changed_ns > self._newest_ns or (changed_ns == self._newest_ns and name not in self._taken):
                    found.append((changed_ns, name))
        for changed_ns, name in sorted(found):
            if changed_ns > self._newest_ns:
                self._newest_ns = changed_ns
                self._taken.clear()
            self._taken.add(name)
            self._waiting.append(self._folder / name)

    def _inputs(self, path: Path) -> dict[str, npt.NDArray[Any]]:
        try:
            if path.suffix == ".json":
                return parsed(json.loads(path.read_bytes()), self._wanted)
            return replay.arrays_of(path, self._wanted)
        except (WrongUse, OSError, ValueError, RecursionError):
            return {}

"""Replays a file of recorded inputs at a given rate: `.npz` with one array per input, or `.npy` for an only input."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.board.clock import Clock
from sprat_device.contract.arrays import DAMAGE
from sprat_device.contract.errors import WrongUse
from sprat_device.inference.sources.reading import Numbers, Reading, as_declared

_MOST_BEHIND_US: Final = 1_000_000
"""After a longer halt the rate goes on from now: a replay does not make up for a night of suspend."""


class Replay:
    """Rows in order; with `loop` they begin again and the index runs on."""

    def __init__(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        clock: Clock,
        *,
        rate_hz: float = 0.0,
        loop: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        numbers: Numbers | None = None,
    ) -> None:
        """Wire a replay; `numbers` go on where an earlier one left off."""
        self._arrays = dict(arrays)
        self.rows = min(len(array) for array in arrays.values())
        self._clock = clock
        self._period_us = 1e6 / rate_hz if rate_hz else 0.0
        self._loop = loop
        self._sleep = sleep
        self._index = 0
        self._numbers = numbers or Numbers()
        self._due_us = float(clock.monotonic_us())

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next row when it is due."""
        if self._index >= self.rows and not self._loop:
            self._sleep(timeout_s)
            return None
        now_us = self._clock.monotonic_us()
        if self._period_us:
            wait_s = (self._due_us - now_us) / 1e6
            if wait_s > timeout_s:
                self._sleep(timeout_s)
                return None
            if wait_s > 0:
                self._sleep(wait_s)
                now_us = self._clock.monotonic_us()
            self._due_us = max(self._due_us + self._period_us, now_us - _MOST_BEHIND_US)
        row = self._index % self.rows
        reading = Reading(
            self._numbers.next(),
            now_us,
            self._clock.wall_us(),
            {name: array[row] for name, array in self._arrays.items()},
        )
        self._index += 1
        return reading

    def close(self) -> None:
        """Nothing is open."""


def load(path: Path, wanted: Mapping[str, np.dtype[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Read recorded rows of every input, each array [rows, ...], or say what the file lacks."""
    arrays = arrays_of(path, wanted)
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        raise WrongUse(f"{path}: expected arrays with the same number of rows, at least one")
    return arrays


def arrays_of(path: Path, wanted: Mapping[str, np.dtype[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a model's inputs; other arrays in the file are left alone."""
    by_name = _read(path, wanted)
    missing = wanted.keys() - by_name.keys()
    if missing:
        raise WrongUse(f"{path}: no array for input {min(missing)!r}; it needs {', '.join(sorted(wanted))}")
    arrays = {name: as_declared(array, wanted[name]) for name, array in by_name.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def _read(path: Path, wanted: Mapping[str, np.dtype[Any]]) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return dict.fromkeys(wanted, found) if len(wanted) == 1 else {}
            return {name: found[name] for name in found.files if name in wanted}
    except OSError as exc:
        raise WrongUse(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except DAMAGE as exc:
        raise WrongUse(f"{path}: not a plain .npz or .npy file ({exc})") from exc

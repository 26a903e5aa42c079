"""From single samples of a sensor to windows of them: pure, and in constant memory.

A window holds `length` rows, and a new one begins `hop` rows after the one before. `Grid` puts samples on an even grid of
time first, by linear interpolation between neighbours. A gap makes both begin anew, so no window spans one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]
Times = npt.NDArray[np.float64]


class Window(NamedTuple):
    """Rows [length, channels] and the time of the last one, in seconds; `begins` after a gap."""

    rows: Rows
    at_s: float
    begins: bool


class Windows:
    """Collects rows; gives a window whenever one is full."""

    def __init__(self, length: int, hop: int, row_shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Wire for rows of one shape; `hop` may exceed `length`: then rows between two windows are left out."""
        self.row_shape = row_shape
        self.dtype = np.dtype(dtype)
        self._length = length
        self._hop = hop
        self._rows: Rows = np.zeros((length, *row_shape), dtype)
        self._filled = 0
        self._to_skip = 0
        self._begins = False

    def begin(self) -> None:
        """Forget what was collected: a gap."""
        self._filled = self._to_skip = 0
        self._begins = True

    def push(self, rows: Rows, times: Times) -> Iterator[Window]:
        """Take rows [n, …] with their times and give the windows that they complete."""
        place = 0
        while place < len(rows):
            if self._to_skip:
                skipped = min(self._to_skip, len(rows) - place)
                self._to_skip -= skipped
                place += skipped
                continue
            taken = min(self._length - self._filled, len(rows) - place)
            self._rows[self._filled : self._filled + taken] = rows[place : place + taken]
            self._filled += taken
            place += taken
            if self._filled == self._length:
                yield self._full(float(times[place - 1]))

    def _full(self, at_s: float) -> Window:
        window = Window(self._rows.copy(), at_s, self._begins)
        self._begins = False
        kept = max(0, self._length - self._hop)
        self._rows[:kept] = self._rows[self._length - kept :].copy()
        self._filled = kept
        self._to_skip = max(0, self._hop - self._length)
        return window


class Grid:
    """Samples at any time become rows at `rate_hz`; a gap longer than `max_gap_s`, or time going back, begins anew."""

    def __init__(self, rate_hz: float, max_gap_s: float) -> None:
        self._rate_hz = rate_hz
        self._max_gap_s = max_gap_s
        self._last: Rows | None = None
        self._last_s = 0.0
        self._first_s = 0.0
        self._given = 0

    def begin(self) -> None:
        """Forget the last sample: the next one is the first of a new grid."""
        self._last = None

    def broken_by(self, at_s: float) -> bool:
        """Tell whether a sample at this time cannot follow the last one."""
        return self._last is not None and not 0 <= at_s - self._last_s <= self._max_gap_s

    def push(self, row: Rows, at_s: float) -> tuple[Rows, Times]:
        """Return the rows of the grid up to this sample, and their times: at most `max_gap_s * rate_hz + 1`."""
        if self._last is None or self.broken_by(at_s):
            self._last, self._last_s, self._first_s, self._given = row, at_s, at_s, 1
            return row[None], np.array([at_s])
        # Counted from the first sample, so that no error of a period adds up.
        upto = int(np.floor((at_s - self._first_s) * self._rate_hz + 1e-9)) + 1
        times = self._first_s + np.arange(self._given, max(upto, self._given)) / self._rate_hz
        span_s = at_s - self._last_s
        share = np.ones(len(times)) if span_s == 0 else np.clip((times - self._last_s) / span_s, 0, 1)
        weight = share.reshape(-1, *(1,) * row.ndim)
        rows = self._last * (1 - weight) + row * weight
        self._last, self._last_s, self._given = row, at_s, max(upto, self._given)
        return rows, times


def spread(count: int, before_s: float, at_s: float) -> Times:
    """Return the times of rows that came as one block: evenly between the block before and the coming of this one."""
    steps: Times = np.arange(1, count + 1) / count
    return before_s + (at_s - before_s) * steps

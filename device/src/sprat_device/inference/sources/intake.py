"""From items to readings of one bundle: decoded, windowed where the model takes windows, and numbered.

A bundle that comes later gets an intake of its own over the same feed, so its other inputs or windows need no new
connection, and the running number goes on.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat_device.contract.phases import Reason
from sprat_device.inference.sources.decoding import Arrays, Decoded
from sprat_device.inference.sources.fitting import Fit, Windowing
from sprat_device.inference.sources.item import Feed, Item, Unreadable
from sprat_device.inference.sources.reading import Fault, Numbers, Reading
from sprat_device.inference.windows import Window, spread


class Intake:
    """The source that one bundle reads."""

    def __init__(self, feed: Feed, fit: Fit, numbers: Numbers) -> None:
        self._feed = feed
        self._decode = fit.decode
        self._windowing = fit.windowing
        self._numbers = numbers
        self._ready: deque[Reading] = deque()
        self._before_s: float | None = None

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next reading, or one with its fault; None within the time."""
        until = time.monotonic() + timeout_s
        while not self._ready:
            item = self._feed.take(timeout_s)
            if item is None:
                return None
            self._take(item)
            timeout_s = until - time.monotonic()
            if timeout_s <= 0 and not self._ready:
                return None
        return self._ready.popleft()

    def close(self) -> None:
        """Close the feed."""
        self._feed.close()

    def _take(self, item: Item) -> None:
        if item.fault:
            self._ready.append(self._bad(item, Reason.INPUT_UNREADABLE, item.fault))
            return
        try:
            decoded = self._decode(item)
            if decoded is None:
                return
            if self._windowing is None:
                self._ready.append(self._reading(item, decoded.inputs, begins=item.begins))
            else:
                self._window(item, decoded, self._windowing)
        except Unreadable as exc:
            self._ready.append(self._bad(item, exc.reason, exc.detail))

    def _reading(self, item: Item, inputs: Arrays, *, begins: bool, late_s: float = 0.0) -> Reading:
        # At most since the machine began: a sensor whose clock was set by years between two blocks says no more than that,
        # and no frame holds a time before.
        late_us = min(round(late_s * 1e6), item.mono_us)
        return Reading(self._numbers.next(), item.mono_us - late_us, item.wall_us - late_us, inputs, begins)

    def _bad(self, item: Item, reason: Reason, detail: str) -> Reading:
        fault = Fault(reason, detail)
        return Reading(self._numbers.next(), item.mono_us, item.wall_us, {}, item.begins, fault=fault)

    def _window(self, item: Item, decoded: Decoded, windowing: Windowing) -> None:
        rows = _rows(decoded, windowing)
        at_s = item.mono_us / 1e6 if decoded.at_s is None else decoded.at_s
        before_s, self._before_s = self._before_s, at_s
        if item.begins or self._gap(before_s, at_s, windowing):
            before_s = None
            windowing.windows.begin()
            if windowing.grid is not None:
                windowing.grid.begin()
        times = spread(len(rows), at_s if before_s is None else before_s, at_s)
        for window in _windows(rows, times, windowing):
            # A window's time is that of its last sample: with a clock of the sensor's own, only how long ago is told.
            self._ready.append(
                self._reading(item, {windowing.input: window.rows}, begins=window.begins, late_s=at_s - window.at_s)
            )

    @staticmethod
    def _gap(before_s: float | None, at_s: float, windowing: Windowing) -> bool:
        if before_s is None:
            return False
        return at_s < before_s or bool(windowing.max_gap_s and at_s - before_s > windowing.max_gap_s)


def _windows(rows: npt.NDArray[Any], times: npt.NDArray[np.float64], windowing: Windowing) -> list[Window]:
    if windowing.grid is None:
        return list(windowing.windows.push(rows, times))
    found: list[Window] = []
    for row, at_s in zip(rows, times, strict=True):
        found += windowing.windows.push(*windowing.grid.push(row, float(at_s)))
    return found


def _rows(decoded: Decoded, windowing: Windowing) -> npt.NDArray[Any]:
    """Return the samples of one item as rows: it holds one, or several along its first axis."""
    found = decoded.inputs.get(windowing.input)
    if found is None:
        raise Unreadable(f"no samples for {windowing.input!r}", Reason.INPUT_MISSING)
    rows = found[None] if found.ndim == windowing.row_rank else found
    if rows.shape[1:] != windowing.windows.row_shape:
        raise Unreadable(
            f"a sample of shape {list(found.shape)}, expected {list(windowing.windows.row_shape)}", Reason.INPUT_SHAPE
        )
    kept = windowing.windows.dtype
    # Into whole numbers nothing is cast: it would cut fractions off, or upper bits.
    if rows.dtype.kind not in "biuf" or (kept.kind != "f" and rows.dtype != kept):
        raise Unreadable(f"a sample of {rows.dtype}, expected {kept}", Reason.INPUT_DTYPE)
    return rows

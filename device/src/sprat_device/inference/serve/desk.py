"""Where the rows of requests wait for their loop: bounded on one side, the source of an ordinary loop on the other."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.inference.loop import MOST_AT_ONCE
from sprat_device.inference.serve.exchange import Exchange, Row, Rows, Shown
from sprat_device.inference.serve.room import RETRY_S
from sprat_device.inference.serve.wire import Refusal
from sprat_device.inference.sources.reading import Reading, Reply

_LOG: Final = logging.getLogger("sprat.agent")


@dataclass(frozen=True, slots=True)
class _Waiting:
    inputs: Row
    mono_us: int
    wall_us: int
    begins: bool
    exchange: Exchange | None
    place: int
    held: object


class Desk:
    """The rows that wait for one input; `put` never waits, and `read` is the loop's."""

    def __init__(self, model: str, clock: Clock, *, most: int = 64, batch_wait_s: float = 0.0) -> None:
        self.model = model
        self.most = most
        self.batch_wait_s = batch_wait_s
        self.refused = 0
        """Rows for which there was no room, since the start."""
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._arrived = threading.Condition()
        self._shown: Shown | None = None
        self._closed = False
        self._index = 0
        self._run = self._last_run = 0

    @property
    def waiting(self) -> int:
        """Return how many rows wait for which somebody still waits."""
        with self._arrived:
            return sum(row.exchange is None or not row.exchange.given_up for row in self._waiting)

    @property
    def shown(self) -> Shown | None:
        """Return what answers, None while no bundle does."""
        return self._shown

    # The server's side

    def put(self, asked: Rows, exchange: Exchange | None) -> None:
        """Take all rows of a request or none; Refusal where there is no room."""
        now_us, wall_us = self._clock.monotonic_us(), self._clock.wall_us()
        rows = [
            _Waiting(row, now_us, wall_us, asked.begins and not place, exchange, place, asked.held)
            for place, row in enumerate(asked.rows)
        ]
        with self._arrived:
            if self._closed or self._shown is None:
                raise no_bundle(self.model)
            if len(rows) > self.most:
                raise Refusal(413, "too-large", f"{len(rows)} rows at once, at most {self.most} may wait (serve.queue)")
            if len(self._waiting) + len(rows) > self.most:
                self._drop_given_up()
            if len(self._waiting) + len(rows) > self.most:
                self.refused += len(rows)
                raise Refusal(
                    503, "queue-full", f"{len(self._waiting)} rows wait for {self.model} already, at most {self.most} may; "
                    f"ask again in {RETRY_S} s", Retry_After=str(RETRY_S),
                )  # fmt: skip
            self._waiting += rows
            self._arrived.notify()

    def show(self, shown: Shown | None) -> None:
        """Let another bundle answer; with None, those who wait are told that there is none, and what was pushed stays."""
        with self._arrived:
            self._shown = shown
            asking = self._take(lambda row: row.exchange is not None) if shown is None else []
        _tell(asking)

    # The loop's side

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next row for which somebody still waits."""
        with self._arrived:
            if timeout_s > 0:
                self._last_run, self._run = self._run, 0
                self._await(timeout_s)
            while self._waiting:
                row = self._waiting.popleft()
                if row.exchange is None or not row.exchange.given_up:
                    self._run += 1
                    return self._reading(row)
            return None

    def open(self) -> None:
        """Take rows again, after a loop before has closed the desk."""
        self._closed = False

    def close(self) -> None:
        """Take nothing more, and tell those who wait; of what was pushed nobody waits, so the log has it."""
        with self._arrived:
            self._closed = True
            left = self._take(lambda _row: True)
        _tell(left)
        if pushed := sum(row.exchange is None for row in left):
            _LOG.warning("%s: the input ends, %d accepted rows are not run", self.model, pushed)

    def _await(self, timeout_s: float) -> None:
        if not self._waiting:
            self._arrived.wait_for(lambda: self._waiting, timeout_s)
        if not (self.batch_wait_s and self._waiting and self._shown is not None and self._shown.batches):
            return
        # Only where more is to be expected: a request that comes alone is run at once.
        until_s = time.monotonic() + self.batch_wait_s
        while len(self._waiting) < MOST_AT_ONCE and len(self._waiting) < self._last_run:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            self._arrived.wait(left_s)

    def _reading(self, row: _Waiting) -> Reading:
        index = self._index
        self._index += 1
        reply = None if row.exchange is None else partial(row.exchange.take, row.place)
        return Reading(index, row.mono_us, row.wall_us, row.inputs, row.begins, reply)

    def _drop_given_up(self) -> None:
        self._take(lambda row: row.exchange is not None and row.exchange.given_up)

    def _take(self, which: Callable[[_Waiting], bool]) -> list[_Waiting]:
        taken: list[_Waiting] = []
        kept: deque[_Waiting] = deque()
        for row in self._waiting:
            (taken if which(row) else kept).append(row)
        self._waiting = kept
        return taken


def no_bundle(model: str) -> Refusal:
    """Return the answer to a request for a model that has no bundle yet."""
    return Refusal(
        503, "no-bundle", f"no bundle answers for {model} at the moment; ask again later", Retry_After=str(RETRY_S)
    )


def _tell(left: list[_Waiting]) -> None:
    for row in left:
        if row.exchange is not None and not row.exchange.given_up:
            row.exchange.take(row.place, Reply("", 0, detail="no bundle answers at the moment; ask again later"))

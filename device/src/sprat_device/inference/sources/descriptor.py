"""A feed on a file descriptor: standard input, a child's output, a serial line."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Callable
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.inference.sources.item import Item, arrived
from sprat_device.inference.sources.splitting import Splitter

_CHUNK: Final = 64 * 1024
_MOST_SKIPPED: Final = 1024
"""Pieces that one call passes over for the newest: a flood must not keep it."""
TOO_LONG: Final = "a line longer than 16 MiB"


class Descriptor:
    """Reads without ever waiting longer than it was asked to."""

    def __init__(
        self,
        descriptor: int,
        clock: Clock,
        splitter: Splitter,
        *,
        close: Callable[[], None] = lambda: None,
        ended: Callable[[], str] | None = None,
        newest: bool = False,
    ) -> None:
        """Wire a feed; `ended` says why, where an end is a fault (without it, nothing comes any more); `newest` keeps up."""
        self._descriptor = descriptor
        self._clock = clock
        self._splitter = splitter
        self._close = close
        self._why = ended
        self._newest = newest
        self._ended = False
        # Not select(), which takes no descriptor from 1024 on: an agent with many inputs and clients has some.
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def take(self, timeout_s: float) -> Item | None:
        """Return the next line or record; OSError where the other side is gone."""
        until = time.monotonic() + timeout_s
        while (piece := self._splitter.pop()) is None:
            left = max(0.0, until - time.monotonic())
            if self._ended:
                if self._why is not None:
                    raise OSError(self._why())
                time.sleep(left)
                return None
            if not self._readable(left):
                return None
            self._fill()
        if self._newest:
            piece = self._last(piece)
        return arrived(self._clock, piece, fault="" if piece else TOO_LONG)

    def close(self) -> None:
        """Let go of the descriptor, if it is this feed's own."""
        self._close()

    def _last(self, piece: bytes) -> bytes:
        """Return the newest whole piece that waits."""
        for _ in range(_MOST_SKIPPED):
            newer = self._splitter.pop()
            if newer is not None:
                piece = newer
            elif self._ended or not self._readable(0):
                break
            else:
                self._fill()
        return piece

    def _readable(self, timeout_s: float) -> bool:
        # Rounded up, else what is left of the last millisecond would be spent in a busy round. An end is readable too.
        return bool(self._poll.poll(math.ceil(timeout_s * 1e3)))

    def _fill(self) -> None:
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self._splitter.push(chunk)
        else:
            self._ended = True
            self._splitter.end()

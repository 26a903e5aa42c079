"""JSON lines on standard input: `{"input name": values, …}` or, for an only input, the bare values."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from sprat_device.board.clock import Clock
from sprat_device.inference.sources.reading import Reading, parsed

_MOST_BYTES: Final = 16 * 1024 * 1024
_CHUNK: Final = 64 * 1024


class Lines:
    """Reads a pipe or terminal without ever blocking longer than it was asked to."""

    def __init__(self, descriptor: int, clock: Clock, wanted: Mapping[str, np.dtype[Any]]) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._wanted = wanted
        self._buffer = bytearray()
        self._skipping = False
        self._ended = False
        self._index = 0

    def read(self, timeout_s: float) -> Reading | None:
        """Return the next line's reading; a line that is no JSON is one without inputs."""
        until = time.monotonic() + timeout_s
        while (line := self._next_line()) is None:
            left = max(0.0, until - time.monotonic())
            if self._ended:
                time.sleep(left)
                return None
            if not select.select([self._descriptor], [], [], left)[0]:
                return None
            self._fill()
        reading = Reading(self._index, self._clock.monotonic_us(), self._clock.wall_us(), self._inputs(line))
        self._index += 1
        return reading

    def close(self) -> None:
        """Leave the descriptor open: it belongs to the process."""

    def _next_line(self) -> bytes | None:
        """Take a whole line from the buffer, blank ones skipped."""
        while (end := self._buffer.find(b"\n")) >= 0 or (self._ended and self._buffer):
            end = end if end >= 0 else len(self._buffer)
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if self._skipping:
                self._skipping = False
                return b""
            if line.strip():
                return line
        return None

    def _fill(self) -> None:
        chunk = os.read(self._descriptor, _CHUNK)
        self._ended = not chunk
        self._buffer += chunk
        if len(self._buffer) > _MOST_BYTES and b"\n" not in self._buffer:
            # A line without an end must not fill the memory: what comes before its end is dropped, and told as bad.
            self._buffer.clear()
            self._skipping = True

    def _inputs(self, line: bytes) -> dict[str, Any]:
        try:
            return parsed(json.loads(line), self._wanted)
        except (ValueError, RecursionError):
            return {}

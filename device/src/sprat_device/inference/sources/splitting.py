"""From a stream of bytes to lines or records of one size; pure, and bounded whatever comes."""

from __future__ import annotations

from typing import Final, Protocol

MOST_LINE: Final = 16 * 1024 * 1024
MOST_RECORD: Final = 64 * 1024 * 1024


class Splitter(Protocol):
    """Takes chunks as they come and gives whole pieces."""

    consumed: int
    """Bytes of the stream up to the end of the last piece given."""

    def push(self, chunk: bytes) -> None:
        """Take a chunk."""
        ...

    def pop(self) -> bytes | None:
        """Return the next piece, None if none is whole yet; an empty one stands for a piece that was too long."""
        ...

    def end(self) -> None:
        """Know that nothing more comes: what is left is a piece, if it can be one."""
        ...


class Lines:
    """Lines, blank ones left out; one longer than `most_bytes` is dropped and given as empty."""

    def __init__(self, most_bytes: int = MOST_LINE) -> None:
        self._most = most_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self._ended = False
        self.consumed = 0

    def push(self, chunk: bytes) -> None:
        """Take a chunk."""
        self._buffer += chunk
        if len(self._buffer) > self._most and self._buffer.find(b"\n", self._searched) < 0:
            # A line without an end must not fill the memory: what comes before its end is dropped, and told as bad.
            self.consumed += len(self._buffer)
            self._buffer.clear()
            self._searched = 0
            self._skipping = True

    def pop(self) -> bytes | None:
        """Return the next line without its end."""
        while (end := self._end_of_line()) is not None:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            self.consumed += end + 1
            if self._skipping:
                self._skipping = False
                return b""
            if line.strip():
                return line
        return None

    def end(self) -> None:
        """Take what is left as a line: the last one needs no end."""
        self._ended = True

    def _end_of_line(self) -> int | None:
        end = self._buffer.find(b"\n", self._searched)
        if end >= 0:
            return end
        self._searched = len(self._buffer)
        return len(self._buffer) if self._ended and self._buffer else None


class Records:
    """Records of `size` bytes; a rest at the end is none."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._buffer = bytearray()
        self.consumed = 0

    def push(self, chunk: bytes) -> None:
        """Take a chunk."""
        self._buffer += chunk

    def pop(self) -> bytes | None:
        """Return the next record."""
        if len(self._buffer) < self._size:
            return None
        record = bytes(memoryview(self._buffer)[: self._size])
        del self._buffer[: self._size]
        self.consumed += self._size
        return record

    def end(self) -> None:
        """Leave what is no whole record."""

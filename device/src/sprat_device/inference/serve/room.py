"""The bytes that all requests hold together: bodies that arrive, rows that wait, answers that are not fetched yet.

A claim is given back when the last object that refers to it goes, by whatever way a request ends. That may be in any thread
and at any moment, so it takes no lock: it leaves word, which the server's thread takes up, the only one that claims.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from sprat_device.inference.serve.exchange import Row
from sprat_device.inference.serve.wire import Refusal

RETRY_S: Final = 1
"""What a client is told to wait where there is no room, or no bundle yet."""
_PER_OBJECT: Final = 8
"""Words of memory that a Python object costs in an array of them, at least."""


class Claim:
    """So many bytes of the room, until nobody refers to it any more."""

    __slots__ = ("_given", "_size")

    def __init__(self, size: int, given: deque[int]) -> None:
        self._size = size
        self._given = given

    def __del__(self) -> None:
        """Give the bytes back."""
        self._given.append(self._size)


class Room:
    """At most `most_bytes` are held together; `claim` and `keep` are for one thread."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.refused = 0
        """Requests for which there was no room, since the start."""
        self._held = 0
        self._given: deque[int] = deque()

    def claim(self, size: int) -> Claim:
        """Take so many bytes, or raise Refusal."""
        if size > self.most_bytes:
            raise Refusal(
                413, "too-large", f"{size} bytes at once, at most {self.most_bytes} may wait (serve.max_waiting_bytes)"
            )
        while self._given:
            self._held -= self._given.popleft()
        if self._held + size > self.most_bytes:
            self.refused += 1
            raise Refusal(
                503, "queue-full", f"requests hold {self._held} bytes already, at most {self.most_bytes} may "
                f"(serve.max_waiting_bytes); ask again in {RETRY_S} s", Retry_After=str(RETRY_S),
            )  # fmt: skip
        return self.keep(size)

    def keep(self, size: int) -> Claim:
        """Count bytes that are there already; those who come later find the less room."""
        self._held += size
        return Claim(size, self._given)


def size_of(rows: Iterable[Row]) -> int:
    """Return the bytes of rows."""
    arrays = (array for row in rows for array in row.values())
    return sum(array.nbytes * (_PER_OBJECT if array.dtype.hasobject else 1) for array in arrays)

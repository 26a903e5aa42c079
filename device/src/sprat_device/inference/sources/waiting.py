"""Items between a thread that brings them and the loop that takes them: bounded, the oldest dropped and counted."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Final

from sprat_device.inference.sources.item import Item
from sprat_device.inference.sources.splitting import MOST_RECORD

_MOST_BYTES: Final = 16 * 1024 * 1024
"""Of payloads that wait together; one that is longer waits alone."""


class Waiting:
    """A bounded queue that knows when its other side is gone."""

    def __init__(self, most: int) -> None:
        """Hold so many items, and not many bytes of them."""
        self._most = most
        self._bytes = 0
        self._items: deque[Item] = deque()
        self._dropped = 0
        self._gone = ""
        self._changed = threading.Condition()

    def put(self, item: Item) -> None:
        """Leave an item; it never waits."""
        if len(item.payload) > MOST_RECORD:
            item = replace(item, payload=b"", fault=f"a message longer than {MOST_RECORD >> 20} MiB")
        with self._changed:
            self._bytes += len(item.payload)
            while self._items and (len(self._items) >= self._most or self._bytes > _MOST_BYTES):
                self._bytes -= len(self._items.popleft().payload)
                self._dropped += 1
            self._items.append(item)
            self._changed.notify()

    def gone(self, why: str) -> None:
        """Say that nothing more comes, and why; the first reason is kept."""
        with self._changed:
            self._gone = self._gone or why
            self._changed.notify()

    def take(self, timeout_s: float) -> Item | None:
        """Return the next item; OSError once there is none left and nothing more comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._gone, timeout_s)
            if not self._items:
                if self._gone:
                    raise OSError(self._gone)
                return None
            item, dropped, self._dropped = self._items.popleft(), self._dropped, 0
            self._bytes -= len(item.payload)
        return replace(item, dropped=dropped) if dropped else item

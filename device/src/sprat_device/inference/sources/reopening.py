"""Opens a feed anew whenever it breaks: with full-jitter backoff, and one event per change of state.

The first item after a break begins a new sequence. Neither opening nor reading waits longer than asked for, as far as the
feed keeps its own promise. (Full jitter: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.)
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from sprat_device.inference.sources.item import Feed, Item, Tell

FAILED: Final = "source-failed"
BACK: Final = "source-back"
_LEAST_S: Final = 0.5
_MOST_S: Final = 60.0
_MOST_DOUBLINGS: Final = 10
_PROVEN_S: Final = 10.0
"""One that breaks again sooner was not well: its pauses go on growing, and so its events stay few."""


class Reopening:
    """A feed that is opened when it is first asked, and again after each break."""

    def __init__(
        self,
        open_: Callable[[], Feed],
        tell: Tell,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._open = open_
        self._tell = tell
        self._now_s = now_s
        self._sleep = sleep
        self._jitter = jitter
        self._feed: Feed | None = None
        self._due_s = now_s()
        self._opened_s = self._due_s
        self._attempts = 0
        """Which lengthen the next pause; forgotten once a feed has worked for a while."""
        self._tries = 0
        """Since the last break was told."""
        self._broken = False

    def take(self, timeout_s: float) -> Item | None:
        """Return the next item; None within the time, too where the feed is broken."""
        wait_s = 0.0 if self._feed is not None else self._due_s - self._now_s()
        if wait_s > 0:
            self._sleep(min(wait_s, timeout_s))
            if wait_s > timeout_s:
                return None
            timeout_s -= wait_s
        try:
            if self._feed is None:
                self._feed = self._open()
                self._opened_s = self._now_s()
            item = self._feed.take(timeout_s)
        except OSError as exc:
            self._broke(exc)
            return None
        if item is None or not self._attempts:
            return item
        if self._broken:
            return self._back(item)
        if self._now_s() - self._opened_s >= _PROVEN_S:
            self._attempts = 0
        return item

    def close(self) -> None:
        """Close what is open."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _broke(self, exc: OSError) -> None:
        self.close()
        self._attempts += 1
        self._tries += 1
        most_s = min(_MOST_S, _LEAST_S * 2 ** min(self._attempts, _MOST_DOUBLINGS))
        self._due_s = self._now_s() + self._jitter() * most_s
        if not self._broken:
            self._broken = True
            self._tries = 1
            self._tell(FAILED, {"detail": _sentence(exc)})

    def _back(self, item: Item) -> Item:
        # Only an item proves that it works: a program that starts and dies at once goes on being broken.
        self._tell(BACK, {"attempts": self._tries})
        self._broken = False
        return item.beginning()


def _sentence(exc: OSError) -> str:
    said = f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else str(exc.strerror or exc)
    return " ".join(said.split())[:300]

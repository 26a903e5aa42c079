"""Watches over a feed: one that falls silent, one that floods, and what was dropped on the way.

One event per change of state: `source-stalled` and `source-flowing`; `source-overflow` at most every ten seconds, with
the count since the last one. The item after a gap begins a new sequence.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sprat_device.inference.pace import Pace
from sprat_device.inference.sources.item import Feed, Item, Tell

STALLED: Final = "source-stalled"
FLOWING: Final = "source-flowing"
OVERFLOW: Final = "source-overflow"
_TOLD_EACH_S: Final = 10.0


class Vigil:
    """A feed with an eye on its pace."""

    def __init__(
        self,
        feed: Feed,
        tell: Tell,
        *,
        stalled_after_s: float = 0.0,
        most_hz: float = 0.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch; 0 seconds is never stalled, 0 Hz is no limit."""
        self._feed = feed
        self._tell = tell
        self._stalled_after_s = stalled_after_s
        self._pace = Pace(most_hz, now_s=now_s)
        self._now_s = now_s
        self._waited_s = 0.0
        self._stalled = False
        self._dropped = 0
        self._gap = False
        self._next_told_s = now_s()

    def take(self, timeout_s: float) -> Item | None:
        """Return the next item within the pace; None within the time."""
        begun_s = self._now_s()
        item = self._feed.take(timeout_s)
        now_s = self._now_s()
        if item is None:
            # Only time spent waiting here counts: while no bundle answers, nobody asks the source.
            self._silent(now_s - begun_s)
            self._tell_dropped(now_s)
            return None
        self._flows()
        if item.dropped:
            self._dropped += item.dropped
            self._gap = True
        if not self._pace.allows():
            self._dropped += 1
            self._gap = True
            self._tell_dropped(now_s)
            return None
        self._tell_dropped(now_s)
        if self._gap:
            self._gap = False
            return item.beginning()
        return item

    def close(self) -> None:
        """Tell what was not told yet, and close the feed."""
        self._tell_dropped(self._next_told_s)
        self._feed.close()

    def _silent(self, waited_s: float) -> None:
        self._waited_s += waited_s
        if self._stalled_after_s and not self._stalled and self._waited_s >= self._stalled_after_s:
            self._stalled = True
            self._tell(STALLED, {"after_s": round(self._waited_s, 1)})

    def _flows(self) -> None:
        if self._stalled:
            self._stalled = False
            self._gap = True
            self._tell(FLOWING, {"silent_s": round(self._waited_s, 1)})
        self._waited_s = 0.0

    def _tell_dropped(self, now_s: float) -> None:
        if self._dropped and now_s >= self._next_told_s:
            self._next_told_s = now_s + _TOLD_EACH_S
            self._tell(OVERFLOW, {"dropped": self._dropped})
            self._dropped = 0

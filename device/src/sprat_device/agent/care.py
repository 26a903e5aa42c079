"""What may go wrong around the agent, seen by its main thread: threads that hang, a clock that jumps, a disk that fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from sprat_device.board.clock import Clock, ClockSteps
from sprat_device.board.notify import Notifier
from sprat_device.inference.telling import Recorder

_LOG: Final = logging.getLogger("sprat.agent")
_FEEDS: Final = 4
"""In each interval of the watchdog: a busy board may miss some."""


class Pulse:
    """Remembers when each count rose last; times are of a clock that stands still while the machine sleeps."""

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._seen: dict[str, tuple[int, float]] = {}

    def late(self, beats: Mapping[str, int], now_s: float) -> list[str]:
        """Return the threads whose count has not risen for longer than the limit."""
        self._seen = {
            name: self._seen[name] if name in self._seen and self._seen[name][0] == count else (count, now_s)
            for name, count in beats.items()
        }
        return [name for name, (_, since_s) in self._seen.items() if now_s - since_s > self._limit_s]


class Care:
    """Tells what goes wrong as events, once each, and feeds the watchdog while nothing hangs."""

    def __init__(self, clock: Clock, recorder: Recorder, notifier: Notifier, *, limit_s: float) -> None:
        """Take a thread for hung that makes no progress for `limit_s`."""
        self._clock = clock
        self._recorder = recorder
        self._notifier = notifier
        self._steps = ClockSteps(clock)
        self._pulse = Pulse(limit_s=limit_s)
        self._late: list[str] = []
        self._fails: set[str] = set()
        self._next_fed_s = 0.0

    def feed_watchdog(self, beats: Mapping[str, int], now_s: float | None = None) -> None:
        """Tell the service manager that all is well, as long as every thread's count rises."""
        now_s = time.monotonic() if now_s is None else now_s
        late = self._pulse.late(beats, now_s)
        if late != self._late:
            self._late = late
            if late:
                _LOG.error("%s: no progress; a watchdog ends the agent if that lasts", ", ".join(late))
                self._recorder.event("thread-hangs", {"threads": late})
        if not late and self._notifier.watchdog_s and now_s >= self._next_fed_s:
            self._next_fed_s = now_s + self._notifier.watchdog_s / _FEEDS
            self._notifier.alive()

    def watch_clock(self, limit_s: float) -> None:
        """Tell of a wall clock that was set by more than the limit."""
        if jump_s := self._steps.jumped_s(limit_s):
            _LOG.warning("the wall clock jumped by %+.1f s", jump_s)
            self._recorder.event("clock-jumped", {"by_s": round(jump_s, 3), "clock": self._clock.state()})

    def attempt(self, what: str, act: Callable[[], object]) -> None:
        """Do what writes to the disk; one that fails is told once, and is tried again with the next round."""
        try:
            act()
        except OSError as exc:
            if what not in self._fails:
                _LOG.error("%s: the disk fails (%s), tried again", what, exc)
                self._recorder.event("disk-failed", {"at": what, "detail": str(exc)[:200]})
            self._fails.add(what)
        else:
            self._fails.discard(what)

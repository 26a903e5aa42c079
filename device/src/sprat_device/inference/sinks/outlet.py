"""One output: a filter in the loop's thread, a bounded queue, and a thread that gives what waits to a sink.

A loop never waits for a sink. What a full queue, or age, pushes out is counted and told in an event now and then; a sink
that fails is told once, and tried again with full-jitter backoff; what it refuses for good is not.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sprat_device.board.settings import OutputSettings
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.pace import Pace
from sprat_device.inference.session import Session
from sprat_device.inference.sinks.filter import Filter, concerns
from sprat_device.inference.sinks.told import Told, tell
from sprat_device.inference.sources.item import Tell

_LOG: Final = logging.getLogger("sprat.sink")
FAILED: Final = "sink-failed"
BACK: Final = "sink-back"
OVERFLOW: Final = "sink-overflow"
REFUSED: Final = "sink-refused"
_TOLD_EACH_S: Final = 10.0
_EVENTS_A_MINUTE: Final = 4
"""A sink that works every other time must not fill the spool with its ups and downs."""
_LEAST_S: Final = 0.5
_MOST_S: Final = 30.0
_MOST_DOUBLINGS: Final = 8


class Refused(Exception):
    """What was told will not be taken, now or later: it is counted, and not told again."""


class Sink(Protocol):
    """Where predictions go. OSError says that it is broken: it is closed, and opened anew to try once more."""

    def give(self, told: Told) -> None:
        """Tell one prediction; it returns within its time limit."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


@dataclass(slots=True)
class _Waiting:
    told: Told
    since_s: float


class Outlet:
    """What stands between the loops and one sink."""

    def __init__(self, settings: OutputSettings, open_: Callable[[], Sink], event: Tell) -> None:
        """Wire and start; `event` may be called from any thread."""
        self._settings = settings
        self._open = open_
        self._event = event
        self._filters: dict[tuple[str, str], Filter] = {}
        self._pace = Pace(settings.most_hz)
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()  # guards what stands above, for moments only
        self._closing_s: float | None = None
        self._dropped = self._refused = 0
        self._next_told_s = 0.0
        self._busy_s = time.monotonic()
        """When its thread last took something up, or began to wait."""
        self._sink: Sink | None = None
        self._attempts = 0
        self._told_failed = False
        self._events = Pace(_EVENTS_A_MINUTE / 60, burst=_EVENTS_A_MINUTE)
        self._thread = threading.Thread(target=self._run, name=f"output {settings.name or settings.kind}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Tell whether its thread runs."""
        return self._thread.is_alive()

    # The loops' side

    def answered(self, session: Session, origin: Origin, prediction: Prediction) -> None:
        """Take a prediction, if it is wanted; it never waits."""
        if not concerns(self._settings, origin):
            return
        with self._changed:
            key = (origin.model, origin.input)
            rules = self._filters.get(key) or self._filters.setdefault(key, Filter(self._settings))
            if not rules.passes(session, prediction, self._pace):
                return
            if len(self._queue) >= self._settings.queue:
                self._queue.popleft()
                self._dropped += 1
            now_s = time.monotonic()
            told = tell(session, origin, prediction, scores=self._settings.scores)
            self._queue.append(_Waiting(told, now_s))
            self._changed.notify()
            hangs = self._dropped > 0 and now_s - self._busy_s > _TOLD_EACH_S
        if hangs:  # its own thread cannot say so
            self._tell_losses()

    def close(self, timeout_s: float) -> None:
        """Give what waits, for so long; then leave the rest."""
        with self._changed:
            self._closing_s = time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s + 0.1)

    # The thread's side

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            self._busy_s = time.monotonic()
            if time.monotonic() - waiting.since_s > self._settings.max_age_s:
                self._settled(waiting, dropped=1)
            else:
                self._give(waiting)
            self._tell_losses()
        self._tell_losses(last=True)
        self._let_go()

    def _next(self) -> _Waiting | None:
        """Return what waits longest, which stays in the queue until it is settled; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing_s is not None, _TOLD_EACH_S)
            while not self._queue and self._closing_s is None:
                self._changed.wait(_TOLD_EACH_S)
            late = self._closing_s is not None and time.monotonic() >= self._closing_s
            return None if late or not self._queue else self._queue[0]

    def _give(self, waiting: _Waiting) -> None:
        try:
            self._sink = self._sink or self._open()
            self._sink.give(waiting.told)
        except Refused as exc:
            _LOG.warning("output %s refuses: %s", self._name, exc)
            self._settled(waiting, refused=1)
        except OSError as exc:
            self._broke(exc)
        else:
            self._settled(waiting)
            if self._told_failed:
                self._event(BACK, {**self._labels, "attempts": self._attempts})
                self._told_failed = False
            self._attempts = 0

    def _settled(self, waiting: _Waiting, *, dropped: int = 0, refused: int = 0) -> None:
        with self._changed:
            # While it was given the queue may have pushed it out, and counted it: then it is not counted twice.
            if self._queue and self._queue[0] is waiting:
                self._queue.popleft()
            elif not dropped:
                self._dropped -= 1
            else:
                dropped = 0
            self._dropped += dropped
            self._refused += refused

    def _broke(self, exc: OSError) -> None:
        self._let_go()
        self._attempts += 1
        if self._attempts == 1 and self._events.allows():
            self._told_failed = True
            said = f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else str(exc.strerror or exc)
            said = " ".join(said.split())[:300]
            _LOG.warning("output %s: %s", self._name, said)
            self._event(FAILED, {**self._labels, "detail": said})
        most_s = min(_MOST_S, _LEAST_S * 2 ** min(self._attempts, _MOST_DOUBLINGS))
        with self._changed:
            if self._closing_s is not None:
                self._closing_s = 0.0  # there is no time for another attempt
            pause_s = random.random() * most_s  # noqa: S311 - jitter is no secret
            self._changed.wait_for(lambda: self._closing_s is not None, pause_s)

    def _let_go(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except OSError as exc:
                _LOG.warning("output %s: while closing: %s", self._name, exc)

    def _tell_losses(self, *, last: bool = False) -> None:
        now_s = time.monotonic()
        with self._changed:
            if now_s < self._next_told_s and not last:
                return
            dropped, refused = self._dropped + len(self._queue) * last, self._refused
            self._dropped = self._refused = 0
        if not (dropped or refused):
            return
        self._next_told_s = now_s + _TOLD_EACH_S
        if dropped:
            self._event(OVERFLOW, {**self._labels, "dropped": dropped})
        if refused:
            self._event(REFUSED, {**self._labels, "refused": refused})

    @property
    def _name(self) -> str:
        return self._settings.name or self._settings.kind

    @property
    def _labels(self) -> Mapping[str, object]:
        return {"output": self._settings.name, "kind": self._settings.kind}

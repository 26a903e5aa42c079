"""What signals ask of a program. A handler raises a flag or rings a bell; it takes no lock.

It runs between two instructions of the main thread, which may hold any lock at that moment: to wait for one would be to
wait for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

_ENDS: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Of the agent: SIGTERM and SIGINT end it, SIGHUP has its settings read again. To be made first of all.

    Until `hand_over` an end is a SystemExit of the main thread, and a reload is not needed: nothing has been read yet.
    """

    def __init__(self) -> None:
        self._ending = False
        self._handed_over = False
        self._reload: Callable[[], None] = lambda: None
        for number in _ENDS:
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, lambda *_: self._reload())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # see `hold_back`

    def hand_over(self, reload: Callable[[], None]) -> Callable[[], bool]:
        """Let an agent look for its end by what is returned, and be told by `reload`, which must take no lock."""
        self._reload = reload
        self._handed_over = True
        return lambda: self._ending

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # Python takes its handlers away before it ends
        for number in _ENDS:
            signal.signal(number, signal.SIG_DFL)  # the next one ends it at once
        if not self._handed_over:
            raise SystemExit(0)


def hold_back() -> None:
    """Keep a SIGHUP for the program that takes this one's place: before it has a handler, it would be its end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class Bell:
    """Wakes the thread that waits; may be rung by a signal's handler and by any thread."""

    def __init__(self) -> None:
        self._ear, self._bell = os.pipe()
        os.set_blocking(self._bell, False)

    def ring(self) -> None:
        """Wake who waits, now or later."""
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self._bell, b"!")

    def wait(self) -> None:
        """Wait until it was rung."""
        os.read(self._ear, 1)

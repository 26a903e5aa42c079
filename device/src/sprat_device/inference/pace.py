"""A bucket of allowances: so many a second, and so many at once. From one thread."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Allows `hz` things a second on average; 0 allows all."""

    def __init__(self, hz: float, *, burst: float = 0.0, now_s: Callable[[], float] = time.monotonic) -> None:
        """Fill the bucket, which holds `burst`, or a second's allowance, and at least one."""
        self._hz = hz
        self._most = max(1.0, burst or hz)
        self._now_s = now_s
        self._left = self._most
        self._filled_s = now_s()

    def allows(self) -> bool:
        """Tell whether one more is within the pace, and count it if so."""
        if not self._hz:
            return True
        now_s = self._now_s()
        self._left = min(self._most, self._left + (now_s - self._filled_s) * self._hz)
        self._filled_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True

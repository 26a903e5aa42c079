"""Whether the agent grows while kept bundles answer: a leak that no trial is long enough to see.

Weighed with all bundles at work, after the first prediction since the last of them was loaded. Nothing is reverted for
it, since nobody knows whose memory it is: it is told once, for people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_HEAVY: Final = 3


@dataclass(frozen=True, slots=True)
class Grown:
    """What the agent weighs, and what it may, in KiB."""

    kib: int
    limit_kib: int


class Weight:
    """The agent's weight since its bundles were loaded."""

    def __init__(self, weigh: Callable[[], int]) -> None:
        self._weigh = weigh
        self.loaded()

    def loaded(self) -> None:
        """Begin anew: another bundle has another weight."""
        self._answered = False
        self._limit_kib = 0
        self._heavy = 0

    def answered(self) -> None:
        """Note that the bundles are at work."""
        self._answered = True

    def look(self, growth_kib: int) -> Grown | None:
        """Weigh, and return what is too much, once; it may grow by `growth_kib`, 0 knows no limit."""
        if not (self._answered and growth_kib) or self._heavy >= _HEAVY:
            return None
        kib = self._weigh()
        self._limit_kib = self._limit_kib or kib + growth_kib
        self._heavy = self._heavy + 1 if kib > self._limit_kib else 0
        return Grown(kib, self._limit_kib) if self._heavy >= _HEAVY else None

"""How fast frames go: reconnects with full jitter, a window of frames without the hub's ack, a pace for the backlog.

Pure decisions: time in seconds and dice (a number from 0 to 1) are arguments. The window, not the broker, holds what a
hub that is down cannot take; its frames are sent again ever more seldom until the hub's next ack.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sprat_device.contract.phases import Lane

Key = tuple[int, Lane, int]
"""Epoch, lane and seq of a frame."""

RESEND_S: Final = 20.0
RESEND_CAP_S: Final = 600.0
QUIET_S: Final = 2.0
RECONNECT_S: Final = 1.0
RECONNECT_CAP_S: Final = 300.0
CLASH_S: Final = 30.0
"""From here on doubles the delay of a device whose session another one takes: each shall have a while to itself."""


def reconnect_delay(attempt: int, *, dice: float) -> float:
    """Return seconds before the next attempt: full jitter (Brooker, AWS Architecture Blog, 2015)."""
    return dice * min(RECONNECT_CAP_S, RECONNECT_S * 2.0 ** min(attempt, 30))


def clash_delay(clashes: int, *, dice: float) -> float:
    """Return seconds before the next attempt of a device that shares its identity with others: full jitter, and long."""
    return dice * min(RECONNECT_CAP_S, CLASH_S * 2.0 ** min(clashes, 30))


def doubling(attempt: int, *, first_s: float, dice: float) -> float:
    """Return seconds until what got no answer is tried again: at least half of a doubling delay."""
    return (0.5 + dice / 2) * min(RESEND_CAP_S, first_s * 2.0 ** min(attempt, 30))


@dataclass(slots=True)
class _Sent:
    again_at: float
    attempt: int
    checksum: int


@dataclass(slots=True)
class Window:
    """The frames under way: sent, and not acked by the hub."""

    limit: int
    _under_way: dict[Key, _Sent] = field(default_factory=dict)
    _quiet_until: float = 0.0
    _refusals: int = 0

    def room(self, now: float, *, backlog: bool = False) -> bool:
        """Tell whether another frame may be sent; the backlog leaves a quarter of the window to live frames."""
        limit = max(1, self.limit - self.limit // 4) if backlog else self.limit
        return now >= self._quiet_until and len(self._under_way) < limit

    def sent(self, key: Key, now: float, *, dice: float, checksum: int = 0) -> None:
        """Note that a frame was sent, for the first time or again, and its checksum."""
        attempt = self._under_way[key].attempt + 1 if key in self._under_way else 0
        self._under_way[key] = _Sent(now + doubling(attempt, first_s=RESEND_S, dice=dice), attempt, checksum)

    def acked(self, epoch: int, lane: Lane, ranges: Iterable[tuple[int, int]], now: float) -> None:
        """Open the window by what the hub has; it is alive, so whatever else is under way is asked again soon."""
        runs = tuple(ranges)
        gone = [
            key for key in self._under_way
            if key[:2] == (epoch, lane) and any(first <= key[2] <= last for first, last in runs)
        ]  # fmt: skip
        for key in gone:
            del self._under_way[key]
        self._quiet_until, self._refusals = 0.0, 0
        for sent in self._under_way.values():
            sent.again_at, sent.attempt = min(sent.again_at, now + RESEND_S), 0

    def nobody_listens(self, key: Key, now: float, *, dice: float) -> None:
        """Back off: the broker took a frame for which it has no subscriber, so the hub is not there."""
        if now >= self._quiet_until:  # else it is of the same burst
            self._quiet_until = now + doubling(self._refusals, first_s=QUIET_S, dice=dice)
            self._refusals += 1
        if key in self._under_way:
            self._under_way[key].again_at = self._quiet_until

    def due(self, now: float) -> list[Key]:
        """Return the frames to send again."""
        if now < self._quiet_until:
            return []
        return [key for key, sent in self._under_way.items() if now >= sent.again_at]

    def holds(self, key: Key) -> bool:
        """Tell whether a frame is under way."""
        return key in self._under_way

    def checksum(self, key: Key) -> int | None:
        """Return the checksum of a frame that is under way."""
        return self._under_way[key].checksum if key in self._under_way else None

    def forget(self, key: Key) -> None:
        """Take out a frame that the spool no longer has."""
        self._under_way.pop(key, None)

    def clear(self) -> None:
        """Begin anew, after a reconnect."""
        self._under_way.clear()
        self._quiet_until, self._refusals = 0.0, 0


@dataclass(slots=True)
class Pace:
    """A bucket of bytes that fills with time; `bytes_per_s` 0 is no limit."""

    bytes_per_s: int
    _level: float = 0.0
    _last: float | None = None

    def allows(self, now: float) -> bool:
        """Tell whether a frame may go now (it may overdraw the bucket by its size)."""
        if self._last is not None:
            self._level = min(float(self.bytes_per_s), self._level + (now - self._last) * self.bytes_per_s)
        self._last = now
        return not self.bytes_per_s or self._level >= 0

    def spend(self, size: int) -> None:
        """Take a frame's bytes out; without a limit nothing is owed, whatever limit is set later."""
        if self.bytes_per_s:
            self._level -= size

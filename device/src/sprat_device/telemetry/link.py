"""The state of the link to the broker: down, connecting or up, since when, and when the next attempt is due.

Pure decisions: time in seconds and dice (a number from 0 to 1) are arguments. A delay doubles with each attempt and
begins anew only with proof: a connection that held, or an ack of the hub. Who shares this device's name is left a while
to itself, ever longer until a connection was ours alone.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from sprat_device.telemetry.pacing import clash_delay, reconnect_delay

_CONNACK_S: Final = 20.0
_STEADY_S: Final = 30.0
"""A connection that held this long, or brought an ack, resets the reconnect delay."""
_ALONE_S: Final = 600.0
"""A connection that held this long was not taken over by another device of our name."""


class _State(Enum):
    DOWN = auto()
    CONNECTING = auto()
    UP = auto()


class Link:
    """One link, from attempt to attempt; `attempts` counts those that failed since there was proof."""

    def __init__(self) -> None:
        self._state = _State.DOWN
        self._since = 0.0
        self._next_at = 0.0
        self._clashes = 0
        self.attempts = 0

    @property
    def up(self) -> bool:
        """Tell whether the broker has taken us."""
        return self._state is _State.UP

    def due(self, now: float) -> bool:
        """Tell whether the next attempt shall be made."""
        return self._state is _State.DOWN and now >= self._next_at

    def unanswered(self, now: float) -> bool:
        """Tell whether the broker has had its time to answer an attempt."""
        return self._state is _State.CONNECTING and now >= self._since + _CONNACK_S

    def connecting(self, now: float) -> None:
        """Note that an attempt is made."""
        self._state, self._since = _State.CONNECTING, now

    def connected(self, now: float) -> None:
        """Note that the broker has taken us."""
        self._state, self._since = _State.UP, now

    def proven(self) -> None:
        """Note that the hub was heard over this link: the next delay is the first again."""
        self.attempts = 0

    def lost(self, now: float, *, taken_over: bool, dice: float) -> float:
        """Note that there is no connection, and return the seconds until the next attempt.

        `taken_over`: another client has come under our name.
        """
        held_s = now - self._since if self.up else 0.0
        if held_s >= _STEADY_S:
            self.attempts = 0
        if held_s >= _ALONE_S:
            self._clashes = 0
        if taken_over:
            delay_s = clash_delay(self._clashes, dice=dice)
            self._clashes += 1
        else:
            delay_s = reconnect_delay(self.attempts, dice=dice)
        self.attempts += 1
        self._state, self._next_at = _State.DOWN, now + delay_s
        return delay_s

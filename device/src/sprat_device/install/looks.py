"""When this device looks at the hub without an offer, and what the agent makes of what a look found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sprat_device.board.clock import Clock, moment
from sprat_device.board.files import Files
from sprat_device.contract.twin import Desired
from sprat_device.install.look_record import Look, load

_FIRST_S: Final = 300.0
"""Within this time after a start: a board without a battery wants to hear what time it is."""
BUSY: Final = 75
_Events = list[tuple[str, dict[str, Any]]]


class Looks:
    """The timer, with jitter, so that a fleet does not come as one."""

    def __init__(self, state: Path, files: Files, clock: Clock, *, every_s: float, jitter: Callable[[], float]) -> None:
        self._state = state
        self._files = files
        self._clock = clock
        self._every_s = every_s
        self._jitter = jitter
        self._at_us = self._after(min(every_s, _FIRST_S) * jitter())
        self._told = Look()
        self._failed = False
        self._desired: Desired | None = None

    def configure(self, *, every_s: float) -> None:
        """Take another time between two looks; it counts from now."""
        if every_s != self._every_s:
            self._every_s = every_s
            self._at_us = self._after(every_s * self._jitter())

    def due(self) -> bool:
        """Tell whether it is time."""
        return self._clock.monotonic_us() >= self._at_us

    def ended(self, code: int) -> _Events:
        """Take what a look left, say when the next is, and return what is worth an event."""
        self._at_us = self._after(self._every_s * (0.5 + self._jitter()))
        if code == BUSY:
            return []  # an install from a folder is at work: it has refreshed the metadata
        failed, self._failed = self._failed, bool(code)
        if code:
            return [] if failed else [("look-failed", {"code": code})]
        found = load(self._state, self._files)
        return self._take(found) if found else []

    def desired(self) -> Desired | None:
        """Return what the hub told last, once."""
        desired, self._desired = self._desired, None
        return desired

    def _take(self, found: Look) -> _Events:
        self._desired = found.wanted()
        before, self._told = self._told, replace(found, desired="")
        events: _Events = []
        if found.certificate_ends_us and found.certificate_ends_us != before.certificate_ends_us:
            ends = moment(found.certificate_ends_us)
            events.append(("certificate-renewed", {"ends": f"{ends:%Y-%m-%d}"}))
        if found.not_renewed and found.not_renewed != before.not_renewed:
            events.append(("certificate-not-renewed", {"detail": found.not_renewed}))
        if found.reason and found.reason != before.reason:
            events.append(("metadata-refused", {"reason": found.reason, "detail": found.detail}))
        return events

    def _after(self, seconds: float) -> int:
        return self._clock.monotonic_us() + round(seconds * 1e6)

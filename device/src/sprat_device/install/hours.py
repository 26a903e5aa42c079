"""May a checked bundle begin its trial now? The hub's windows, this site's own, and what an operator has put off.

Fetching and checking are free of all this; only a change of what answers waits. An unsynchronised clock cannot tell
whether a window is open, so then nothing changes. An urgent offer passes the hub's windows, never the site's own: who
steals the hub must not gain the right to disturb the plant at noon.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sprat_device.board.clock import Clock, moment
from sprat_device.board.files import Files
from sprat_device.contract import maintenance
from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.maintenance import Maintenance
from sprat_device.contract.phases import ClockState, Reason

SCHEMA: Final = "sprat.defer/1"
FILE_NAME: Final = "defer.json"
LONGEST_S: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a trial waits."""

    reason: Reason
    detail: str


class Hours:
    """Asked before each trial."""

    def __init__(self, state: Path, files: Files, clock: Clock, own: Maintenance) -> None:
        self._state = state
        self._files = files
        self._clock = clock
        self._own = own
        self._hubs = Maintenance()
        self._unreadable = ""

    def follow(self, desired: Mapping[str, Any]) -> None:
        """Take what the twin says; what cannot be read keeps everything closed, and says so."""
        try:
            self._hubs, self._unreadable = maintenance.parse(desired), ""
        except ContractError as exc:
            self._unreadable = str(exc)

    def configure(self, own: Maintenance) -> None:
        """Take this site's own windows."""
        self._own = own

    def closed(self, *, urgent: bool) -> Closed | None:
        """Return why a trial must wait, None where it may begin."""
        if deferral(self._state, self._files, self._clock):
            return Closed(Reason.DEFERRED, "put off on this device; `sprat-device defer 0` ends that")
        if self._unreadable and not urgent:
            return Closed(Reason.OUTSIDE_WINDOW, f"the hub's maintenance cannot be read: {self._unreadable}")
        for whose, asked in (
            ("this device's settings", self._own),
            ("the hub", Maintenance() if urgent else self._hubs),
        ):
            if asked.asks and (closed := self._closed(asked, whose)):
                return closed
        return None

    def _closed(self, asked: Maintenance, whose: str) -> Closed | None:
        if self._clock.state() is not ClockState.SYNCHRONISED:
            return Closed(Reason.OUTSIDE_WINDOW, f"{whose} asks for a window, and the clock is not synchronised")
        now = moment(self._clock.wall_us())
        if asked.is_open(now):
            return None
        opens = asked.opens(now)
        when = f"opens {opens:%Y-%m-%d %H:%M} UTC" if opens else "does not open in the days that were looked at"
        return Closed(Reason.OUTSIDE_WINDOW, f"window of {whose} {when}")


def defer(state: Path, files: Files, clock: Clock, *, seconds: float) -> None:
    """Put every trial off for so long, from now; 0 ends it."""
    document = {
        "schema": SCHEMA,
        "boot_id": clock.boot_id.hex(),
        "until_mono_us": clock.monotonic_us() + round(seconds * 1e6),
        "until_wall_us": clock.wall_us() + round(seconds * 1e6) if clock.state() is ClockState.SYNCHRONISED else 0,
    }
    files.write_atomic(state / FILE_NAME, json.dumps(document).encode())


def deferral(state: Path, files: Files, clock: Clock) -> float:
    """Return seconds for which trials are put off, 0 where they are not.

    Counted by uptime in the boot in which it was asked for, so a clock that jumps changes nothing; after a reboot by the
    wall clock if that is synchronised, else it has ended.
    """
    try:
        fields = Fields(json.loads(files.read(state / FILE_NAME)), "deferral")
        fields.schema(SCHEMA)
        boot_id = fields.text("boot_id")
        until_mono_us, until_wall_us = fields.integer("until_mono_us"), fields.integer("until_wall_us")
    except (OSError, ValueError, ContractError):
        return 0.0  # there is none, or it is damaged: who put trials off sees in the status that they are not
    left_us = 0
    if boot_id == clock.boot_id.hex():
        left_us = until_mono_us - clock.monotonic_us()
    elif until_wall_us and clock.state() is ClockState.SYNCHRONISED:
        left_us = until_wall_us - clock.wall_us()
    return max(0.0, min(left_us / 1e6, float(LONGEST_S)))

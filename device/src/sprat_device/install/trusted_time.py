"""What time it is at least, told by signed timestamps and uptime alone.

Only signed time is kept: one answer of a false time server must not lock a device for ever. A wall clock that is
synchronised may move the time forward for one run, by at most the end of the last verified timestamp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.fields import Fields, text
from sprat_device.contract.phases import ClockState
from sprat_device.install.floors import PairedRecord

FLOORS: Final = "floors"
"""The record that holds the mark beside the floors."""
BUILT_US: Final = 1_767_225_600_000_000
"""2026-01-01: this program is not older, so neither is now."""


@dataclass(frozen=True, slots=True)
class TimeMark:
    """The newest verified timestamp: when it was issued, when it ends, and where this device's clock stood then."""

    issued_us: int
    expires_us: int
    mono_us: int
    keyids: tuple[str, ...]
    """Who signed it: a rotated key forgets the mark, else a stolen key could move time forward for ever."""

    def dump(self) -> dict[str, Any]:
        """Return a plain mapping."""
        return {**asdict(self), "keyids": list(self.keyids)}


def parse_mark(raw: Mapping[str, Any]) -> TimeMark:
    """Read what `dump` wrote, or raise ContractError."""
    fields = Fields(raw, "time mark")
    return TimeMark(
        fields.integer("issued_us"),
        fields.integer("expires_us"),
        fields.integer("mono_us"),
        fields.items("keyids", text),
    )


def trusted_us(mark: TimeMark | None, *, mono_us: int, wall_us: int, synchronised: bool) -> int:
    """Return microseconds since 1970 that have passed for certain; a clock that is synchronised may add to them."""
    signed = BUILT_US
    if mark is not None:
        # A monotonic clock behind its mark began anew since: then its uptime has passed for certain, else the difference.
        signed = max(signed, mark.issued_us + (mono_us - mark.mono_us if mono_us >= mark.mono_us else mono_us))
    if not synchronised:
        return signed
    return max(signed, wall_us if mark is None else min(wall_us, mark.expires_us))


class TrustedClock:
    """Trusted time as the floors of this device hold it; needs none of what verifies metadata."""

    def __init__(self, state: Path, *, files: Files, clock: Clock) -> None:
        self._floors = PairedRecord(files, state / FLOORS)
        self._clock = clock

    def now_us(self) -> int:
        """Return what time it is at least."""
        try:
            return self.after(mark_of(self._floors.load()))
        except BundleRefused:
            # All records are damaged. Nothing is installed then, but the hub must hear of it.
            return self.after(None)

    def after(self, mark: TimeMark | None) -> int:
        """Return what time it is at least, going by one mark."""
        return trusted_us(
            mark,
            mono_us=self._clock.monotonic_us(),
            wall_us=self._clock.wall_us(),
            synchronised=self._clock.state() is ClockState.SYNCHRONISED,
        )


def mark_of(floors: Mapping[str, Any]) -> TimeMark | None:
    """Return the mark in a record of floors."""
    return parse_mark(floors["mark"]) if "mark" in floors else None

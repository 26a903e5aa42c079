"""Which day it is for a daily budget, by a clock that may jump: what was granted once is granted anew when a day has passed.

A day has passed at a midnight that the monotonic clock came to as well, or after 24 hours of it. While the machine was off
nobody counted, so the first synchronised moment after a boot is believed, and so is the first of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Self

from sprat_device.board.clock import Clock
from sprat_device.contract.fields import Fields
from sprat_device.contract.phases import ClockState

DAY_US: Final = 86_400_000_000
_APART_US: Final = 600_000_000
"""By so much a clock may be set without having jumped: the two clocks drift, and are put right."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks say."""

    mono_us: int
    wall_us: int
    synchronised: bool
    boot: str = ""

    @classmethod
    def of(cls, clock: Clock) -> Self:
        """Return what they say now."""
        synchronised = clock.state() is ClockState.SYNCHRONISED
        return cls(clock.monotonic_us(), clock.wall_us(), synchronised, clock.boot_id.hex())

    @property
    def day(self) -> int:
        """Return the UTC day of the wall clock, counted from 1970."""
        return self.wall_us // DAY_US

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"mono_us": self.mono_us, "wall_us": self.wall_us, "synchronised": self.synchronised, "boot": self.boot}


def parse(raw: object) -> Moment:
    """Read a moment's plain values; ContractError where they are none."""
    fields = Fields(raw, "since")
    return Moment(
        fields.integer("mono_us"), fields.integer("wall_us"), fields.boolean("synchronised"),
        fields.text("boot", default="", max_length=64),
    )  # fmt: skip


@dataclass(slots=True)
class Days:
    """Tells when another day begins."""

    since: Moment | None = None
    """When the day in use began, or this boot if that was later."""

    def begin(self, now: Moment) -> None:
        """Count from here on."""
        self.since = now

    def passed(self, day: int, now: Moment) -> bool:
        """Tell whether the day in use is over."""
        since = self.since
        if since is None:
            self.since = now
            return True
        if since.boot != now.boot:
            self.since = since = replace(now, synchronised=False)
        if not since.synchronised and now.synchronised:
            self.since = now
            return now.day != day
        counted_us = now.mono_us - since.mono_us
        apart_us = abs(now.wall_us - since.wall_us - counted_us)
        genuine = counted_us >= DAY_US or (now.synchronised and apart_us < _APART_US)
        return genuine and now.day != day

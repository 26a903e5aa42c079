"""What time it is at least, told by signed timestamps and uptime alone.

Only signed time is kept: one answer of a false time server must not lock a device for ever. A wall clock that is
synchronised may move the time forward for one run, by at most the end of the last verified timestamp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sprat_device.contract.fields import Fields, text

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

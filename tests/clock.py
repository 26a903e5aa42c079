"""A clock that only moves when a test moves it."""

from __future__ import annotations

from sprat_device.contract.phases import ClockState


class ManualClock:
    """The device's Clock port, set by hand; wall and monotonic time advance together, and wall can jump."""

    def __init__(
        self, *, wall_us: int = 1_760_000_000_000_000, state: ClockState = ClockState.SYNCHRONISED, boot: int = 1
    ) -> None:
        self._mono_us = 1_000_000
        self._wall_us = wall_us
        self._state = state
        self._boot = boot

    @property
    def boot_id(self) -> bytes:
        """Return 16 bytes that stand for this boot."""
        return self._boot.to_bytes(16, "big")

    def monotonic_us(self) -> int:
        """Return microseconds since an arbitrary start."""
        return self._mono_us

    def wall_us(self) -> int:
        """Return microseconds since 1970."""
        return self._wall_us

    def state(self) -> ClockState:
        """Tell whether the wall clock may be believed."""
        return self._state

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._mono_us += round(seconds * 1e6)
        self._wall_us += round(seconds * 1e6)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as NTP does."""
        self._wall_us += round(seconds * 1e6)

    def believe(self, state: ClockState) -> None:
        """Say from now on whether the wall clock may be believed."""
        self._state = state

    def reboot(self) -> None:
        """Start the monotonic clock anew, under another boot id."""
        self._mono_us = 1_000_000
        self._boot += 1

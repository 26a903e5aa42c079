"""Time as a port: a monotonic clock that counts through suspend, the wall clock, and whether to believe it.

A board without a battery starts at 1970 or at its last shutdown; until NTP has set the clock every frame says so, and
the hub re-times it by boot id and monotonic time.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol

from sprat_device.contract.phases import ClockState

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIMESYNC: Final = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches it when the clock was set; it is gone after a reboot."""
_TIMEX_SIZE: Final = 512
"""More than the 208 bytes of `struct timex`; all zero means modes = 0: read only."""
_TIME_OK: Final = range(5)
"""States of adjtimex(2) below TIME_ERROR, which says that the kernel's clock is not synchronised."""
_READINGS: Final = 3
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(wall_us: int) -> datetime:
    """Return the moment so many microseconds after 1970, in UTC; unlike `fromtimestamp` also after 2038 on 32 bits."""
    return _EPOCH + timedelta(microseconds=wall_us)


class Clock(Protocol):
    """What time it is."""

    @property
    def boot_id(self) -> bytes:
        """Return 16 bytes that change with every boot."""

    def monotonic_us(self) -> int:
        """Return microseconds since boot, suspend included."""

    def wall_us(self) -> int:
        """Return microseconds since 1970 in UTC."""

    def state(self) -> ClockState:
        """Tell whether the wall clock may be believed."""


class SystemClock:
    """The machine's clocks; `fixed_state` overrides the question whether the wall clock is synchronised."""

    def __init__(self, fixed_state: ClockState | None = None, *, boot_id_file: Path = _BOOT_ID) -> None:
        self._fixed_state = fixed_state
        self._boot_id = _read_boot_id(boot_id_file)

    @property
    def boot_id(self) -> bytes:
        """Return the kernel's boot id, or a random one where there is none."""
        return self._boot_id

    def monotonic_us(self) -> int:
        """Return microseconds since boot, suspend included."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000

    def wall_us(self) -> int:
        """Return microseconds since 1970 in UTC."""
        return time.time_ns() // 1000

    def state(self) -> ClockState:
        """Ask the kernel (any NTP client tells it), then systemd."""
        if self._fixed_state is not None:
            return self._fixed_state
        # Not `Path.exists`, which raises where a sandbox hides the folder: the writer of frames asks this.
        synchronised = _kernel_is_synchronised() or os.path.exists(_TIMESYNC)  # noqa: PTH110
        return ClockState.SYNCHRONISED if synchronised else ClockState.UNSYNCHRONISED


def apart_us(clock: Clock) -> int:
    """Return wall time minus monotonic time.

    Two clocks cannot be read at once, and a thread may have to wait between them for longer than a record takes. So the
    wall clock is read between two looks at the monotonic one, and of several such readings the closest counts.
    """
    return min((_reading(clock) for _ in range(_READINGS)), key=itemgetter(0))[1]


def _reading(clock: Clock) -> tuple[int, int]:
    """Return by how much a reading may be off, and what it says, microseconds."""
    before_us, wall_us, after_us = clock.monotonic_us(), clock.wall_us(), clock.monotonic_us()
    return after_us - before_us, wall_us - (before_us + after_us) // 2


class ClockSteps:
    """Notices when the wall clock is set: from one look to the next it then ran apart from the monotonic one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart_us = apart_us(clock)

    def jumped_s(self, limit_s: float) -> float:
        """Return by how many seconds the wall clock jumped since the last look, 0 where it was less than the limit."""
        now_apart_us = apart_us(self._clock)
        step_s, self._apart_us = (now_apart_us - self._apart_us) / 1e6, now_apart_us
        return step_s if abs(step_s) > limit_s else 0.0


def _read_boot_id(path: Path) -> bytes:
    try:
        return uuid.UUID(path.read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError):
        # Not every container shows /proc/sys: a random id makes each start a boot of its own, which only costs re-timing.
        return secrets.token_bytes(16)


@cache
def _adjtimex() -> Callable[[Any], int] | None:
    # Once: each CDLL makes classes of its own, which only the garbage collector takes away again.
    return getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)


def _kernel_is_synchronised() -> bool:
    adjtimex = _adjtimex()
    return adjtimex is not None and adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE)) in _TIME_OK

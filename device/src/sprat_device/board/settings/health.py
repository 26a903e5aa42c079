"""What the agent watches of the machine: `[health]`."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """`[health]`."""

    clock_jump_s: float = setting(5.0, values.number(0.1, 1e9), "a wall clock that jumps by more is an event")
    thread_limit_s: float = setting(
        30.0, values.number(1, 3600), "a thread without progress for longer hangs: the watchdog is fed no more"
    )

"""What goes into a log, and what a full one gave up."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.contract.phases import ClockState, Lane


@dataclass(frozen=True, slots=True)
class Draft:
    """A frame before it has a place in a log."""

    lane: Lane
    count: int
    body: bytes
    boot_id: bytes
    mono_first_us: int
    mono_last_us: int
    wall_first_us: int
    wall_last_us: int
    clock: ClockState


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that were evicted before the hub had them."""

    lane: Lane
    epoch: int
    first_seq: int
    last_seq: int
    records: int

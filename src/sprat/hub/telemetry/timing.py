"""Places the monotonic times of a frame in wall time.

A synchronised frame tells the offset of its boot; frames of that boot whose clock was not synchronised use it. Where no
such frame came yet, the earliest arrival is the nearest bound: a record was made before it arrived.
"""

from __future__ import annotations

from sprat.hub.store.telemetry_values import Anchor, Timing
from sprat_device.contract.frame import FrameHeader
from sprat_device.contract.phases import ClockState


def place(header: FrameHeader, received_us: int, known: Anchor | None) -> Anchor:
    """Return how to turn the frame's monotonic times into wall time; `known` is the anchor of the same boot so far."""
    if header.clock is ClockState.SYNCHRONISED:
        return Anchor(header.wall_last_us - header.mono_last_us, Timing.SYNCHRONISED)
    if known is not None and known.timing is not Timing.ARRIVAL:
        return Anchor(known.offset_us, Timing.BOOT)
    arrival = received_us - header.mono_last_us
    return Anchor(min(arrival, known.offset_us) if known else arrival, Timing.ARRIVAL)

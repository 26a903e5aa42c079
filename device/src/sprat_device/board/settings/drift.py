"""When the device itself says that its inputs have drifted: `[drift]`."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """`[drift]`: the hub works out its own figures from the summaries, whatever stands here."""

    readings: int = setting(10_000, values.integer(0), "compared with the baseline at a time; 0 is never")
    psi: float = setting(0.25, values.number(0.01, 100), "population stability index that is told as a drift")

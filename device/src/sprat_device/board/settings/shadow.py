"""How much of the machine a shadow may take: `[shadow]`."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting


@dataclass(frozen=True, slots=True)
class ShadowSettings:
    """`[shadow]`: a second bundle that sees the same inputs and never answers."""

    enabled: bool = setting(True, values.boolean, "run the shadow that the hub offers")
    cpu_share: float = setting(0.1, values.number(0.001, 1), "of one core, for the shadow and all that is done for it")
    memory_bytes: int = setting(192 * 1024 * 1024, values.integer(16 * 1024 * 1024), "of its process, or it is ended")
    timeout_s: float = setting(
        30.0,
        values.number(0.1, 3600),
        "without an answer, then it is ended; not counted while others have all processors",
    )
    starts: int = setting(3, values.integer(1, 100), "of its process, then it is given up")
    warm_up: int = setting(100, values.integer(0), "readings of a running stream that it sees before it is compared")

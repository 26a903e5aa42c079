"""The step that makes windows of a sensor's samples. It keeps what came before, so a device's source runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, text

WINDOW: Final = "window"
_MOST_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class WindowStep:
    """Windows of `rows` samples, a new one each `hop`; `rate_hz` is that of the training data, 0 where it has none.

    With `resample` a device puts its samples on an even grid at that rate. `channels` names a sample's fields in order.
    """

    rows: int
    hop: int
    rate_hz: float = 0.0
    resample: bool = False
    max_gap_s: float = 0.0
    channels: tuple[str, ...] = ()


def read(fields: Fields) -> WindowStep:
    """Read the step's parameters, or raise ContractError."""
    rows = fields.integer("rows", minimum=1, maximum=_MOST_ROWS)
    step = WindowStep(
        rows=rows,
        hop=fields.integer("hop", minimum=1, maximum=_MOST_ROWS, default=rows),
        rate_hz=fields.number("rate_hz", default=0.0),
        resample=fields.boolean("resample", default=False),
        max_gap_s=fields.number("max_gap_s", default=0.0),
        channels=fields.items("channels", text, default=()),
    )
    if step.rate_hz < 0 or step.max_gap_s < 0 or (step.resample and not step.rate_hz):
        raise ContractError("window: expected rate_hz above zero with resample, and max_gap_s of zero or more")
    return step

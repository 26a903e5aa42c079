"""When a frame closes: at 500 records, before its body could exceed its limit, or after the interval.

Inputs take turns, so each has a frame of its own: one that had to close for the other would hold a single record.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, NamedTuple, cast

import msgpack

from sprat_device.board.clock import Clock, apart_us
from sprat_device.contract.frame import MAX_BODY, MAX_RECORDS
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Origin, Prediction, Row, encode_predictions, encode_rows
from sprat_device.telemetry.draft import Draft

_PLAIN_LIMIT: Final = MAX_BODY - 4096
"""Counted before compression, which may only make a frame smaller than it had to be; the rest is for names."""
_PREDICTION_BYTES: Final = 26
"""Index, time, label and latency of one prediction at most."""
_ROW_BYTES: Final = 256
"""Code, names and times of a row at most."""


class Whose(NamedTuple):
    """What the records of one frame have in common: the lane; of predictions whose they are, and whether they are scores."""

    lane: Lane
    origin: Origin | None = None
    scores: bool = False


Records = Sequence[Prediction | Row]


@dataclass(slots=True)
class OpenFrame:
    """Records that are not sealed yet; `size` in bytes before compression."""

    whose: Whose
    opened_us: int
    size: int = 0
    records: list[Prediction | Row] = field(default_factory=list)

    def fill(self, records: Records) -> int:
        """Take records as long as there is room; return how many were taken. An empty frame takes the first."""
        candidates = records[: MAX_RECORDS - len(self.records)]
        sizes = list(accumulate(_sizes(self.whose, candidates), initial=self.size))
        taken = max(bisect_right(sizes, _PLAIN_LIMIT) - 1, 0 if self.records else 1)
        self.records += candidates[:taken]
        self.size = sizes[taken]
        return taken

    def due(self, now_us: int, *, interval_us: int) -> bool:
        """Tell whether the frame must close now."""
        return len(self.records) >= MAX_RECORDS or now_us - self.opened_us >= interval_us

    def draft(self, clock: Clock) -> Draft:
        """Encode what was taken.

        The wall times are those of the clock as it is now: one that was set after the records were made, and before
        the frame closed, dates them truly. What the records were told when they were made may be of 1970.
        """
        # In this order: a clock that is set in between is not yet said to be synchronised.
        state, apart = clock.state(), apart_us(clock)
        lane, origin, scores = self.whose
        body = (
            encode_rows(cast("list[Row]", self.records))
            if origin is None
            else encode_predictions(origin, cast("list[Prediction]", self.records), scores=scores)
        )
        first, last = self.records[0], self.records[-1]
        return Draft(
            lane=lane, count=len(self.records), body=body, boot_id=clock.boot_id, clock=state,
            mono_first_us=first.mono_us, mono_last_us=last.mono_us,
            wall_first_us=first.mono_us + apart, wall_last_us=last.mono_us + apart,
        )  # fmt: skip


def _sizes(whose: Whose, records: Records) -> list[int]:
    if whose.origin is None or not records:
        return [_ROW_BYTES + len(msgpack.packb(dict(row.detail))) for row in cast("Sequence[Row]", records)]
    # Predictions of one bundle are of one size.
    width = cast("Sequence[Prediction]", records)[0].outputs.size
    return [_PREDICTION_BYTES + (2 if whose.scores else 4) * width] * len(records)

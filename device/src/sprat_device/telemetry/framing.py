"""When a frame closes: at 500 records, before its body could exceed its limit, or after the interval.

Inputs take turns, so each has a frame of its own: one that had to close for the other would hold a single record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

from sprat_device.contract.frame import MAX_BODY, MAX_RECORDS
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.contract.records import Origin, Prediction, Row, encode_predictions, encode_rows
from sprat_device.telemetry.draft import Draft

_PLAIN_LIMIT: Final = MAX_BODY - 4096
"""Counted before compression, which may only make a frame smaller than it had to be; the rest is for names."""
_PREDICTIONS: Final = Lane.PREDICTIONS
_PREDICTION_BYTES: Final = 26
"""Index, time, label and latency of one prediction at most."""


Whose = tuple[Lane, Origin | None, bool]
"""What the records of one frame have in common: the lane; of predictions whose they are, and whether they are scores."""


class Handed(NamedTuple):
    """A record on its way from the inference loop to a frame; `size` in bytes before compression."""

    lane: Lane
    record: Prediction | Row
    size: int
    origin: Origin | None = None
    scores: bool = False

    @classmethod
    def of_prediction(cls, origin: Origin, prediction: Prediction, *, scores: bool) -> Handed:
        """Wrap a prediction."""
        size = _PREDICTION_BYTES + (2 if scores else 4) * prediction.outputs.size
        return cls(_PREDICTIONS, prediction, size, origin, scores)

    @property
    def whose(self) -> Whose:
        """Return what the records of its frame have in common."""
        return self.lane, self.origin, self.scores


@dataclass(slots=True)
class OpenFrame:
    """Records that are not sealed yet."""

    whose: Whose
    opened_us: int
    size: int = 0
    records: list[Prediction | Row] = field(default_factory=list)

    def fill(self, handed: Sequence[Handed]) -> int:
        """Take records as long as there is room; return how many were taken. An empty frame takes the first."""
        room = MAX_RECORDS - len(self.records)
        for place, one in enumerate(handed[:room]):
            size = self.size + one.size
            if self.records and size > _PLAIN_LIMIT:
                return place
            self.records.append(one.record)
            self.size = size
        return min(room, len(handed))

    def due(self, now_us: int, *, interval_us: int) -> bool:
        """Tell whether the frame must close now."""
        return len(self.records) >= MAX_RECORDS or now_us - self.opened_us >= interval_us

    def draft(self, *, boot_id: bytes, clock: ClockState) -> Draft:
        """Encode what was taken."""
        lane, origin, scores = self.whose
        body = (
            encode_rows(cast("list[Row]", self.records))
            if origin is None
            else encode_predictions(origin, cast("list[Prediction]", self.records), scores=scores)
        )
        first, last = self.records[0], self.records[-1]
        return Draft(
            lane=lane, count=len(self.records), body=body, boot_id=boot_id, clock=clock,
            mono_first_us=first.mono_us, mono_last_us=last.mono_us, wall_first_us=first.wall_us, wall_last_us=last.wall_us,
        )  # fmt: skip

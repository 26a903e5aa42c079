"""When a frame closes: at 500 records, before its body could exceed its limit, after the interval, or with its bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sprat_device.contract.frame import MAX_BODY, MAX_RECORDS
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.contract.records import Origin, Prediction, Row, encode_predictions, encode_rows
from sprat_device.telemetry.draft import Draft

_PLAIN_LIMIT: Final = MAX_BODY - 4096
"""Counted before compression, which may only make a frame smaller than it had to be; the rest is for names."""
_PREDICTION_BYTES: Final = 26
"""Index, time, label and latency of one prediction at most."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A record on its way from the inference loop to a frame; `size` in bytes before compression."""

    lane: Lane
    record: Prediction | Row
    size: int
    origin: Origin | None = None
    scores: bool = False

    @classmethod
    def of_prediction(cls, origin: Origin, prediction: Prediction, *, scores: bool) -> Handed:
        """Wrap a prediction."""
        width = 2 if scores else 4
        size = _PREDICTION_BYTES + width * prediction.outputs.size
        return cls(Lane.PREDICTIONS, prediction, size, origin, scores)


@dataclass(slots=True)
class OpenFrame:
    """Records of one lane, and for predictions of one bundle, that are not sealed yet."""

    lane: Lane
    opened_us: int
    origin: Origin | None = None
    scores: bool = False
    size: int = 0
    records: list[Prediction | Row] = field(default_factory=list)

    def takes(self, handed: Handed) -> bool:
        """Tell whether a record may still join."""
        same = (handed.origin, handed.scores) == (self.origin, self.scores)
        return same and len(self.records) < MAX_RECORDS and self.size + handed.size <= _PLAIN_LIMIT

    def add(self, handed: Handed) -> None:
        """Take a record."""
        self.records.append(handed.record)
        self.size += handed.size

    def due(self, now_us: int, *, interval_us: int) -> bool:
        """Tell whether the frame must close now."""
        return len(self.records) >= MAX_RECORDS or now_us - self.opened_us >= interval_us

    def draft(self, *, boot_id: bytes, clock: ClockState) -> Draft:
        """Encode what was taken."""
        predictions = [record for record in self.records if isinstance(record, Prediction)]
        rows = [record for record in self.records if isinstance(record, Row)]
        body = (
            encode_rows(rows)
            if self.origin is None
            else encode_predictions(self.origin, predictions, scores=self.scores)
        )
        first, last = self.records[0], self.records[-1]
        return Draft(
            lane=self.lane, count=len(self.records), body=body, boot_id=boot_id, clock=clock,
            mono_first_us=first.mono_us, mono_last_us=last.mono_us, wall_first_us=first.wall_us, wall_last_us=last.wall_us,
        )  # fmt: skip

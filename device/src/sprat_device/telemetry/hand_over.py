"""The hand-over from the inference loops to the writer: bounded, and nobody who gives waits.

Records that belong together have a list of their own: the loop only appends, and the writer takes a frame's worth.
A list may always hold its fair share of the bound, so that a flood on one input does not cost another its records; the
ends of a list are safe between threads, and the lock guards what leaves a list and what is counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import NamedTuple

from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Origin, Prediction, Row
from sprat_device.telemetry.framing import Whose


class Lot(NamedTuple):
    """Records that belong into one frame."""

    whose: Whose
    records: list[Prediction | Row]


class HandOver:
    """What was given and not yet taken: at most `most` records, besides the fair shares of lists less full."""

    def __init__(self, most: int) -> None:
        self.lock = threading.Lock()
        """For moments only; whoever reads several counts as of one moment holds it too."""
        self._most = self._share = most
        self._lots: list[Lot] = []
        self._rows: dict[Lane, Lot] = {lane: self._begin(Whose(lane)) for lane in Lane if lane is not Lane.PREDICTIONS}
        # A list stays, empty, when its bundle answers no more: there are as many as bundles that ever did, by input.
        self._of_origin: dict[Origin, Lot] = {}
        self._overflow: Counter[Lane] = Counter()
        self._taken: Counter[Lane] = Counter()

    def prediction(self, origin: Origin, prediction: Prediction, *, scores: bool) -> int:
        """Give a prediction; return how many were waiting in its list. A bundle's outputs are `scores` always or never."""
        lot = self._of_origin.get(origin)
        if lot is None:
            lot = self._of_origin[origin] = self._begin(Whose(Lane.PREDICTIONS, origin, scores))
        records = lot.records
        waiting = len(records)
        if waiting >= self._share:
            return self._give(lot, prediction)
        records.append(prediction)  # what `_give` would do, without a call for each prediction
        return waiting

    def row(self, lane: Lane, row: Row) -> int:
        """Give an event, a summary or a capture; return how many were waiting in its list."""
        return self._give(self._rows[lane], row)

    def longest(self) -> int:
        """Return how many records wait in the longest list."""
        return max(len(lot.records) for lot in self._lots)

    def take(self, most: int) -> tuple[list[Lot], Counter[Lane]]:
        """Return what waits, at most so much of each list, and how many of each lane have found no room since the last call."""
        lots = []
        with self.lock:
            for whose, records in self._lots:
                if count := min(len(records), most):
                    lots.append(Lot(whose, records[:count]))
                    del records[:count]
                    self._taken[whose.lane] += count
            overflow, self._overflow = self._overflow, Counter()
            self._taken.update(overflow)
        return lots, overflow

    def made(self, lane: Lane, records: int) -> None:
        """Count what the writer itself added; the caller holds the lock."""
        self._taken[lane] += records

    def given(self) -> Counter[Lane]:
        """Return all that was ever given, by lane; the caller holds the lock."""
        given = self._taken + self._overflow
        for whose, records in self._lots:
            given[whose.lane] += len(records)
        return given

    def _begin(self, whose: Whose) -> Lot:
        lot = Lot(whose, [])
        self._lots.append(lot)
        self._share = self._most // len(self._lots)
        return lot

    def _give(self, lot: Lot, record: Prediction | Row) -> int:
        waiting = len(lot.records)
        if waiting < self._share or sum(len(other.records) for other in self._lots) < self._most:
            lot.records.append(record)
        else:
            with self.lock:
                self._overflow[lot.whose.lane] += 1
        return waiting

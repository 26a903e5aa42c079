"""Which predictions become records, and how a day's byte budget steps the detail down: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sprat_device.contract.records import Prediction
from sprat_device.contract.twin import Detail

_UNSURE: Final = 0.6
"""A winning score below this is unusual: such a prediction is kept under `sampled` too."""
_NEARLY: Final = 0.8
"""Share of the budget from which only samples are kept; beyond the whole of it only summaries are."""
_DAY_US: Final = 86_400_000_000
_STEPS: Final = (Detail.FULL, Detail.SAMPLED, Detail.SUMMARY)


def wanted(prediction: Prediction, *, detail: Detail, scores: bool, sample_every: int) -> bool:
    """Tell whether a prediction becomes a record."""
    match detail:
        case Detail.FULL:
            return True
        case Detail.SAMPLED:
            unsure = scores and prediction.outputs.size > 1 and float(prediction.outputs.max()) < _UNSURE
            return unsure or prediction.index % sample_every == 0
        case Detail.SUMMARY:
            return False


@dataclass(slots=True)
class DailyBudget:
    """Bytes of frames in one UTC day; `limit_bytes` 0 is no limit."""

    limit_bytes: int = 0
    _day: int = -1
    _spent: int = 0

    def spend(self, size: int, *, wall_us: int) -> None:
        """Count a frame."""
        if wall_us // _DAY_US != self._day:
            self._day, self._spent = wall_us // _DAY_US, 0
        self._spent += size

    def detail(self, wish: Detail, *, wall_us: int) -> Detail:
        """Return the wish, or the lesser detail that the budget still allows."""
        if not self.limit_bytes or wall_us // _DAY_US != self._day or self._spent < _NEARLY * self.limit_bytes:
            return wish
        allowed = Detail.SUMMARY if self._spent >= self.limit_bytes else Detail.SAMPLED
        return max(wish, allowed, key=_STEPS.index)

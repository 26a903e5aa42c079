"""Which predictions become records: a pure decision."""

from __future__ import annotations

from typing import Final

from sprat_device.contract.records import Prediction
from sprat_device.contract.twin import Detail

_UNSURE: Final = 0.6
"""A winning score below this is unsure: such a prediction is kept under `sampled` too."""


def wanted(prediction: Prediction, *, detail: Detail, scores: bool, unusual: bool, sample_every: int) -> bool:
    """Tell whether a prediction becomes a record; `unusual` says that it found an anomaly."""
    match detail:
        case Detail.FULL:
            return True
        case Detail.SAMPLED:
            unsure = scores and prediction.outputs.size > 1 and float(prediction.outputs.max()) < _UNSURE
            return unusual or unsure or prediction.index % sample_every == 0
        case Detail.SUMMARY:
            return False

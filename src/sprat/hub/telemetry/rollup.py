"""From the records of one frame to what the hub adds up: minutes, drift counts, events, health samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.hub.store.telemetry_values import HOUR_US, MINUTE_US, DriftCounts, NewEvent, Rollup, ShadowHour
from sprat_device.contract import shadow, summary
from sprat_device.contract.errors import ContractError
from sprat_device.contract.phases import Lane, Reason
from sprat_device.contract.records import NO_LABEL, PredictionColumns, Row
from sprat_device.contract.sketch import LogHistogram

INFERENCE_ERRORS: Final = frozenset(
    {
        Reason.INPUT_MISSING, Reason.INPUT_SHAPE, Reason.INPUT_DTYPE, Reason.INPUT_NON_FINITE, Reason.INPUT_RANGE,
        Reason.NON_FINITE, Reason.RUN_FAILED,
    }
)  # fmt: skip
"""Events that stand for an input that became no prediction."""
_MAX_DETAIL_CHARS: Final = 1024
_MAX_DETAIL_ITEMS: Final = 64
_LATEST_US: Final = 2**61


def of_predictions(columns: PredictionColumns, wall_us: npt.NDArray[np.int64]) -> tuple[Rollup, ...]:
    """Sum predictions by minute."""
    minutes = wall_us // MINUTE_US
    return tuple(_minute(columns, minutes == minute, int(minute) * MINUTE_US) for minute in np.unique(minutes))


def _minute(columns: PredictionColumns, chosen: npt.NDArray[np.bool_], minute_us: int) -> Rollup:
    origin, labels = columns.origin, columns.label[chosen]
    part = Rollup(origin.bundle, origin.model, minute_us, Lane.PREDICTIONS, origin.release_seq, len(labels))
    part.latency.add_many(columns.latency_us[chosen])
    labelled = labels != NO_LABEL
    for label, times in zip(*np.unique(labels[labelled], return_counts=True), strict=True):
        part.classes[int(label)] = int(times)
    confidence = columns.outputs[chosen][labelled].max(axis=1) if labelled.any() else np.empty(0)
    part.confidence.add_many(confidence[np.isfinite(confidence)])
    return part


def of_summary(row: Row, at_us: int) -> tuple[Rollup, tuple[DriftCounts, ...]]:
    """Read an inference summary: its minute is the one in which its interval ended."""
    told = summary.parse(row.detail)
    rollup = Rollup(
        bundle=row.bundle, model=row.model, minute_us=at_us // MINUTE_US * MINUTE_US, lane=Lane.SUMMARIES,
        predictions=told.predictions, errors=sum(told.errors.values()), classes=dict(told.classes),
        latency=LogHistogram(dict(told.latency.counts)), confidence=LogHistogram(dict(told.confidence.counts)),
    )  # fmt: skip
    hour_us = at_us // HOUR_US * HOUR_US
    drift = tuple(DriftCounts(row.bundle, feature, hour_us, counts) for feature, counts in told.drift.items())
    return rollup, drift


def of_shadow(row: Row, at_us: int) -> ShadowHour:
    """Read a shadow summary; the record's bundle is the one that answered."""
    return ShadowHour(row.bundle, row.model, at_us // HOUR_US * HOUR_US, shadow.parse(row.detail))


def of_error(row: Row, at_us: int) -> Rollup | None:
    """Count an event that stands for an input without a prediction."""
    if row.code not in INFERENCE_ERRORS or not row.bundle:
        return None
    return Rollup(row.bundle, row.model, at_us // MINUTE_US * MINUTE_US, Lane.EVENTS, errors=1)


def event(row: Row, at_us: int) -> NewEvent:
    """Keep a record as an event; what a device says is bounded and made plain, for it may be hostile."""
    return NewEvent(at_us, row.code, plain_detail(row.detail), row.model, row.bundle)


def wall_time(mono_us: int, offset_us: int) -> int:
    """Place one monotonic time; the result is a time that every reader can hold."""
    return min(max(mono_us + offset_us, 0), _LATEST_US)


def plain_detail(detail: Mapping[str, object]) -> dict[str, object]:
    """Return a JSON-safe, bounded copy of a record's detail."""
    return {str(key)[:64]: _plain(value, depth=0) for key, value in _first(detail.items())}


def _plain(value: object, *, depth: int) -> object:
    match value:
        case bool() | None:
            return value
        case int() | float():
            # A browser would round a larger integer, and JSON has no infinity.
            return value if math.isfinite(value) and abs(value) < 2**53 else str(value)
        case str():
            return value[:_MAX_DETAIL_CHARS]
        case Mapping() if depth < 3:
            return {str(key)[:64]: _plain(entry, depth=depth + 1) for key, entry in _first(value.items())}
        case list() | tuple() if depth < 3:
            return [_plain(entry, depth=depth + 1) for entry in _first(value)]
    return repr(value)[:_MAX_DETAIL_CHARS]


def _first(entries: Iterable[Any]) -> list[Any]:
    return [entry for _, entry in zip(range(_MAX_DETAIL_ITEMS), entries, strict=False)]


def require_known_bundle(row: Row) -> None:
    """Refuse a summary that names no bundle: it could be added to nothing."""
    if not row.bundle or not row.model:
        raise ContractError(f"summary {row.code!r}: names no model and bundle")

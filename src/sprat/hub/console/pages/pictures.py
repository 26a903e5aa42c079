"""From read models to what charts draw: units, slots and colours, shared by the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sprat.hub.console.charts import HeatRow, Segment, Series
from sprat.hub.queries.health import DRIFT_LIMIT
from sprat.hub.queries.overview import RunningShare
from sprat.hub.queries.signals import DriftMap, Latency

HEAT_ROWS: Final = 10
_COLOURS: Final = 6


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over slots, and the sums that stand beside them."""

    series: tuple[Series, ...]
    slots: tuple[str, ...]
    unit: str = ""
    p50_us: float | None = None
    p95_us: float | None = None
    total: int = 0
    errors: int = 0

    @property
    def told(self) -> bool:
        """Tell whether there is anything to draw."""
        return any(value is not None for line in self.series for value in line.values)


@dataclass(frozen=True, slots=True)
class Heat:
    """A heatmap with what its legend needs."""

    bundle: str
    rows: tuple[HeatRow, ...]
    columns: tuple[str, ...]
    threshold: float
    more: int


@dataclass(frozen=True, slots=True)
class ReleaseSegment(Segment):
    """A part of a bar that stands for one release; 0 is none."""

    seq: int


def latency_chart(latency: Latency) -> Chart:
    """Draw p50 and p95 in the unit that suits the highest value."""
    told = [value for value in latency.p95_us if value is not None]
    unit, size_us = ("ms", 1000.0) if max(told, default=0.0) >= 1000 else ("µs", 1.0)

    def scaled(values: Sequence[float | None]) -> list[float | None]:
        return [None if value is None else value / size_us for value in values]

    lines = (Series("p95", "p95", scaled(latency.p95_us)), Series("p50", "p50", scaled(latency.p50_us)))
    return Chart(lines, clock(latency.slots_us), unit, p50_us=_last(latency.p50_us), p95_us=_last(latency.p95_us))


def count_chart(latency: Latency) -> Chart:
    """Draw how many predictions each minute stored."""
    values: list[float | None] = [float(count) for count in latency.predictions]
    if not any(values):
        values = [None] * len(values)
    elif any(values[:-1]):
        values[-1] = None  # the running minute is not over: drawn, it would look like a fall
    return Chart(
        (Series("count", "predictions", values),), clock(latency.slots_us),
        total=sum(latency.predictions), errors=sum(latency.errors),
    )  # fmt: skip


def heat(drift: DriftMap) -> Heat:
    """Draw the most shifted features; the columns begin where there is something to see."""
    first = min((i for _, values in drift.rows for i, v in enumerate(values) if v is not None), default=0)
    first = min(first, max(0, len(drift.slots_us) - 12))
    rows = tuple(HeatRow(feature, values[first:]) for feature, values in drift.rows[:HEAT_ROWS])
    columns = clock(drift.slots_us[first:])
    return Heat(drift.bundle, rows, columns, DRIFT_LIMIT, max(0, len(drift.rows) - HEAT_ROWS))


def release_segments(shares: Sequence[RunningShare]) -> tuple[ReleaseSegment, ...]:
    """Colour the newest releases apart; what has no colour left shares the last."""
    return tuple(
        ReleaseSegment(
            "idle" if not share.release_seq else f"p{min(index, _COLOURS - 1)}",
            share.devices,
            f"release {share.release_seq}" if share.release_seq else "none",
            share.release_seq,
        )
        for index, share in enumerate(shares)
    )


def clock(slots_us: Sequence[int]) -> tuple[str, ...]:
    """Name slots of time; charts are drawn for all viewers at once, so in UTC."""
    return tuple(f"{datetime.fromtimestamp(slot / 1e6, UTC):%H:%M}" for slot in slots_us)


def _last(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)

"""Turns rollups of the telemetry store into what pages and health rules read.

Kept for `KEPT_S`: sums of an hour change slowly and cost more than the twins.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sprat.hub.queries.signals import DriftMap, FleetSignals, Latency, Signals
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_values import HOUR_US, MINUTE_US, DriftRow, HealthRow, MinuteRow
from sprat_device.contract.sketch import LogHistogram, merged, psi, psi_noise

KEPT_S: Final = 3.0
WINDOW_MINUTES: Final = 60
DRIFT_HOURS: Final = 24
MIN_COUNT_PER_BIN: Final = 30
"""Fewer readings than this per bin make PSI noise; the cell stays empty."""
_HEALTH_SAMPLES: Final = 1
_LONGEST: Final = 128
"""Characters of what a device tells; it may be anything."""
_RECENT_US: Final = 3 * HOUR_US

Baselines = Callable[[str], Mapping[str, npt.NDArray[np.int64]]]
"""Bundle digest -> feature -> counts of the baseline; empty where the hub does not hold the bundle."""


class Arrivals:
    """Reads the telemetry store for the board."""

    def __init__(self, store: TelemetryStore, baselines: Baselines) -> None:
        self._store = store
        self._baselines = baselines
        self._lock = threading.Lock()
        self._kept: tuple[int, FleetSignals] = (-(2**62), FleetSignals())

    def signals(self, now_us: int) -> FleetSignals:
        """Return the last hour of the whole fleet."""
        with self._lock:
            if not 0 <= now_us - self._kept[0] < KEPT_S * 1e6:
                self._kept = (now_us, self._read(now_us))
            return self._kept[1]

    def device_latency(self, device: str, now_us: int) -> Latency:
        """Return the last hour of one device by minute."""
        since = _minute(now_us) - (WINDOW_MINUTES - 1) * MINUTE_US
        return latency(self._store.minutes(since_us=since, devices=(device,)), since)

    def device_drift(self, device: str, now_us: int) -> DriftMap:
        """Return the drift of what one device ran last."""
        return self._drift(now_us, (device,))

    def _read(self, now_us: int) -> FleetSignals:
        since = _minute(now_us) - (WINDOW_MINUTES - 1) * MINUTE_US
        received = self._store.received()
        recent = [device for device, at_us in received.items() if now_us - at_us < _RECENT_US]
        by_device = {device: self._signals(device, at_us, since, now_us) for device, at_us in received.items()
                     if device in set(recent)}  # fmt: skip
        for device, at_us in received.items():
            by_device.setdefault(device, Signals(stored_us=at_us))
        return FleetSignals(
            by_device=by_device,
            latency=latency(self._store.minutes(since_us=since), since),
            drift=self._drift(now_us, ()),
            stored_us=max(received.values(), default=0),
        )

    def _signals(self, device: str, stored_us: int, since: int, now_us: int) -> Signals:
        minutes = self._store.minutes(since_us=since, devices=(device,))
        sketch = merged(row.latency for row in minutes)
        drift = self._drift(now_us, (device,), hours=1)
        worst = drift.rows[0] if drift.rows else ("", (None,))
        health = self._store.health(device, limit=_HEALTH_SAMPLES)
        return Signals(
            predictions=sum(row.predictions for row in minutes),
            errors=sum(row.errors for row in minutes),
            p50_us=sketch.quantile(0.5),
            p95_us=sketch.quantile(0.95),
            drift=worst[1][-1],
            drift_feature=worst[0],
            temperature_c=_number(health, "temperature_c"),
            power=_text(health, "power_now"),
            stored_us=stored_us,
            read_us=now_us,
        )

    def _drift(self, now_us: int, devices: Sequence[str], *, hours: int = DRIFT_HOURS) -> DriftMap:
        last = now_us - now_us % HOUR_US
        rows = self._store.drift(since_us=last - hours * HOUR_US, devices=devices)
        if not rows:
            return DriftMap()
        # The bundle with the newest counts: sums over bundles would mix edges that differ.
        newest = max(rows, key=lambda row: (row.hour_us, sum(row.counts))).bundle
        baseline = self._baselines(newest)
        return drift_map(newest, [row for row in rows if row.bundle == newest], baseline, last_us=last, hours=hours)


def latency(minutes: Iterable[MinuteRow], since_us: int) -> Latency:
    """Sum minutes over bundles into slots from `since_us` on."""
    sketches: dict[int, LogHistogram] = defaultdict(LogHistogram)
    predictions: dict[int, int] = defaultdict(int)
    errors: dict[int, int] = defaultdict(int)
    for row in minutes:
        sketches[row.minute_us].merge(row.latency)
        predictions[row.minute_us] += row.predictions
        errors[row.minute_us] += row.errors
    slots = tuple(since_us + index * MINUTE_US for index in range(WINDOW_MINUTES))
    return Latency(
        slots_us=slots,
        p50_us=tuple(sketches[slot].quantile(0.5) if slot in sketches else None for slot in slots),
        p95_us=tuple(sketches[slot].quantile(0.95) if slot in sketches else None for slot in slots),
        predictions=tuple(predictions[slot] for slot in slots),
        errors=tuple(errors[slot] for slot in slots),
    )


def drift_map(
    bundle: str,
    rows: Sequence[DriftRow],
    baseline: Mapping[str, npt.NDArray[np.int64]],
    *,
    last_us: int,
    hours: int,
) -> DriftMap:
    """Compare counts by feature and hour with the baseline, the most shifted feature first."""
    slots = tuple(last_us - (hours - 1 - index) * HOUR_US for index in range(hours))
    cells: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        reference = baseline.get(row.feature)
        counts = np.asarray(row.counts, np.int64)
        if reference is None or reference.shape != counts.shape or counts.sum() < MIN_COUNT_PER_BIN * len(counts):
            continue
        shift = psi(reference, counts)
        # What chance alone gives with so few training rows or readings is no shift, however large the figure.
        by_chance = psi_noise(len(counts), int(reference.sum()), int(counts.sum()))
        cells[row.feature][row.hour_us] = shift if shift > by_chance else 0.0
    named = [(feature, tuple(by_hour.get(slot) for slot in slots)) for feature, by_hour in cells.items()]
    named.sort(key=lambda row: (-max((v for v in row[1] if v is not None), default=0.0), row[0]))
    return DriftMap(bundle=bundle, slots_us=slots, rows=tuple(named))


def _minute(at_us: int) -> int:
    return at_us - at_us % MINUTE_US


def _number(samples: Sequence[HealthRow], *names: str) -> float | None:
    """Return the first of the named numbers in the last sample; what a device tells may be anything."""
    told = samples[-1].detail if samples else {}
    found = [told[name] for name in names if name in told]
    return next((float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool)), None)


def _text(samples: Sequence[HealthRow], name: str) -> str:
    told = samples[-1].detail.get(name) if samples else None
    return told[:_LONGEST] if isinstance(told, str) else ""

"""What arrived lately from one device or the whole fleet: the numbers that pages and health rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Signals:
    """The last hour of one device; None where nothing was told."""

    predictions: int = 0
    errors: int = 0
    p50_us: float | None = None
    p95_us: float | None = None
    drift: float | None = None
    drift_feature: str = ""
    temperature_c: float | None = None
    ram_share: float | None = None
    stored_us: int = 0
    """Arrival of its last frame."""
    since_us: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency and counts by slot of time, oldest first."""

    slots_us: tuple[int, ...] = ()
    p50_us: tuple[float | None, ...] = ()
    p95_us: tuple[float | None, ...] = ()
    predictions: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DriftMap:
    """PSI by feature and slot of time, the most shifted feature first."""

    model: str = ""
    bundle: str = ""
    slots_us: tuple[int, ...] = ()
    rows: tuple[tuple[str, tuple[float | None, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class StoredLane:
    """What the hub holds of one lane of one device, in records."""

    epoch: str
    lane: str
    produced: int
    stored: int
    evicted: int
    damaged: int
    quarantined: int
    missing: int


@dataclass(frozen=True, slots=True)
class FleetSignals:
    """The last hour of the whole fleet."""

    by_device: Mapping[str, Signals] = field(default_factory=dict)
    latency: Latency = Latency()
    drift: DriftMap = DriftMap()
    stored_us: int = 0
    """Arrival of the last frame of any device."""

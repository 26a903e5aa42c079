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
    power: str = ""
    """What the board's firmware says is wrong with its supply or heat now, such as `undervoltage,throttled`."""
    stored_us: int = 0
    """Arrival of its last frame."""
    read_us: int = 0
    """When these numbers were put together."""


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

    bundle: str = ""
    slots_us: tuple[int, ...] = ()
    rows: tuple[tuple[str, tuple[float | None, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class FleetSignals:
    """The last hour of the whole fleet."""

    by_device: Mapping[str, Signals] = field(default_factory=dict)
    latency: Latency = Latency()
    drift: DriftMap = DriftMap()
    stored_us: int = 0
    """Arrival of the last frame of any device."""

"""The fleet at one moment: every device with its health and releases, read once and shared by every page and tab.

Pages ask for the same fleet many times a second, so a snapshot is kept for `KEPT_S`; what an operator changes calls
`forget()`, and the next reader sees it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from sprat.hub.queries.health import Finding, Health, findings, health_of
from sprat.hub.queries.signals import FleetSignals, Signals
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.fleet_twins import ReportedTwin
from sprat.hub.store.rows import Device
from sprat_device.contract.phases import InstallPhase
from sprat_device.contract.twin import Desired, Installed, ModelReport, Offer

KEPT_S: Final = 0.9
"""A little less than a tick, so that each tick reads anew."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model on one device: what is wanted and what runs."""

    model: str
    report: ModelReport
    offer: Offer | None

    @property
    def running(self) -> Installed | None:
        """Return the slot whose bundle answers right now."""
        slots = (self.report.active, self.report.spare)
        return next((slot for slot in slots if slot and slot.bundle == self.report.running), None)

    @property
    def phase(self) -> InstallPhase:
        """Return where the device is with its last offer."""
        return self.report.install.phase

    @property
    def behind(self) -> bool:
        """Tell whether the device does not run what is wanted of it."""
        return self.offer is not None and self.report.running != self.offer.bundle


@dataclass(frozen=True)
class DeviceRow:
    """One device as a list shows it."""

    device: Device
    told: ReportedTwin | None
    desired: Desired | None
    signals: Signals
    findings: tuple[Finding, ...]

    @property
    def id(self) -> str:
        """Return the device's id."""
        return self.device.id

    @cached_property
    def health(self) -> Health:
        """Return the worst health that the findings lead to."""
        return health_of(self.findings)

    @cached_property
    def models(self) -> tuple[ModelState, ...]:
        """Return each model that the device runs or shall run."""
        told = self.told.twin.models if self.told else {}
        offers = self.desired.offers if self.desired else {}
        names = sorted({*told, *offers})
        return tuple(ModelState(name, told.get(name, ModelReport()), offers.get(name)) for name in names)

    @property
    def seen_us(self) -> int:
        """Return when the hub last heard of it, by twin, presence or frame; 0 for never."""
        return max(self.device.seen_us, self.signals.stored_us, self.told.received_us if self.told else 0)


@dataclass(frozen=True)
class Fleet:
    """Every device at one moment."""

    at_us: int
    rows: tuple[DeviceRow, ...]
    signals: FleetSignals

    @cached_property
    def counts(self) -> Counter[Health]:
        """Return how many devices are in each state."""
        return Counter(row.health for row in self.rows)

    @cached_property
    def running(self) -> Mapping[tuple[str, int], int]:
        """Return how many devices run each (model, release_seq)."""
        pairs = (
            (state.model, slot.release_seq) for row in self.rows for state in row.models if (slot := state.running)
        )
        return Counter(pairs)

    def find(self, device: str) -> DeviceRow | None:
        """Return one device."""
        return next((row for row in self.rows if row.id == device), None)


class Board:
    """Reads the fleet at most once in `KEPT_S`."""

    def __init__(
        self,
        store: FleetStore,
        signals: Callable[[int], FleetSignals],
        now_us: Callable[[], int],
    ) -> None:
        self._store = store
        self._signals = signals
        self._now_us = now_us
        self._lock = threading.Lock()
        self._kept: Fleet | None = None
        self._noticed: dict[tuple[str, str, str, str], int] = {}
        """Since when each finding holds: a device reports anew all the time, its trouble does not begin anew."""

    def fleet(self) -> Fleet:
        """Return the fleet as it is now."""
        with self._lock:
            now = self._now_us()
            if self._kept is None or not 0 <= now - self._kept.at_us < KEPT_S * 1e6:
                self._kept = self._read(now)
            return self._kept

    def forget(self) -> None:
        """Make the next reader see what was just changed."""
        with self._lock:
            self._kept = None

    def _read(self, now_us: int) -> Fleet:
        told, desired = self._store.reported.all(), self._store.desired.all()
        signals = self._signals(now_us)
        rows = []
        for device in self._store.devices.all():
            mine = signals.by_device.get(device.id, Signals())
            twin = told.get(device.id)
            rows.append(DeviceRow(device, twin, desired.get(device.id), mine, findings(device, twin, mine)))
        noticed = {
            (row.id, f.code, f.model, f.phase): self._noticed.get((row.id, f.code, f.model, f.phase), f.since_us)
            for row in rows for f in row.findings
        }  # fmt: skip
        self._noticed = noticed
        return Fleet(now_us, tuple(_dated(row, noticed) for row in rows), signals)


def _dated(row: DeviceRow, noticed: Mapping[tuple[str, str, str, str], int]) -> DeviceRow:
    dated = (replace(f, since_us=min(f.since_us, noticed[row.id, f.code, f.model, f.phase])) for f in row.findings)
    return replace(row, findings=tuple(dated))

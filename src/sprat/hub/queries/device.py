"""One device with everything that is known of it: twin, slots, install, ledger, events, latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sprat.hub.queries.arrivals import Arrivals
from sprat.hub.queries.board import DeviceRow
from sprat.hub.queries.signals import DriftMap, Latency
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_values import EventRow, LedgerRow
from sprat_device.contract.phases import Lane
from sprat_device.contract.twin import LaneReport

EVENTS: Final = 25
_FACTS: Final = ("arch", "cores", "ram_kib", "disk_free_kib", "runtimes", "python", "agent")


@dataclass(frozen=True, slots=True)
class TwinLine:
    """One wish and what the device tells of it."""

    what: str
    wanted: str
    told: str

    @property
    def same(self) -> bool:
        """Tell whether the device does what is wanted."""
        return self.wanted == self.told


@dataclass(frozen=True, slots=True)
class LaneLine:
    """The ledger of one lane, as the device tells it and as the hub holds it; either may be missing."""

    epoch: str
    lane: str
    told: LaneReport | None
    held: LedgerRow | None

    @property
    def balanced(self) -> bool:
        """Tell whether every record that the device produced is accounted for, by its own word and by the hub's."""
        if self.told is None:
            return self.held is None or self.held.balanced
        return self.told.balanced() and (self.held is None or not self.held.surplus) and not self.lost

    @property
    def produced(self) -> int:
        """Return the newest count of records produced."""
        return max(self.told.produced if self.told else 0, self.held.produced if self.held else 0)

    @property
    def stored(self) -> int:
        """Return how many the hub holds."""
        return self.held.stored if self.held else 0

    @property
    def quarantined(self) -> int:
        """Return how many the hub put aside."""
        return self.held.quarantined if self.held else 0

    @property
    def evicted(self) -> int:
        """Return how many the device gave up for room."""
        return max(self.told.evicted if self.told else 0, self.held.evicted if self.held else 0)

    @property
    def damaged(self) -> int:
        """Return how many the device found damaged."""
        return max(self.told.damaged if self.told else 0, self.held.damaged if self.held else 0)

    @property
    def waiting(self) -> int:
        """Return how many are on the device and not here; what arrived since its last word counts as here."""
        if self.told is None:
            return 0
        gone = self.stored + self.quarantined + self.evicted + self.damaged + self.lost
        return max(0, self.produced - gone)

    @property
    def lost(self) -> int:
        """Return how many the device holds to be safe at the hub that the hub does not have."""
        return max(0, self.told.acked - self.stored - self.quarantined) if self.told else 0


@dataclass(frozen=True, slots=True)
class DeviceView:
    """Everything that the page of one device shows."""

    row: DeviceRow
    twin: tuple[TwinLine, ...]
    lanes: tuple[LaneLine, ...]
    events: tuple[EventRow, ...]
    latency: Latency
    drift: DriftMap
    facts: tuple[tuple[str, str], ...]

    @property
    def balanced(self) -> bool:
        """Tell whether every lane's ledger balances."""
        return all(lane.balanced for lane in self.lanes)


def device_view(row: DeviceRow, telemetry: TelemetryStore, arrivals: Arrivals, now_us: int) -> DeviceView:
    """Put one device together."""
    return DeviceView(
        row=row,
        twin=twin_lines(row),
        lanes=lane_lines(row, telemetry.ledger(row.id)),
        events=telemetry.events(row.id, limit=EVENTS),
        latency=arrivals.device_latency(row.id, now_us),
        drift=arrivals.device_drift(row.id, now_us),
        facts=_facts(row),
    )


def twin_lines(row: DeviceRow) -> tuple[TwinLine, ...]:
    """Compare what is wanted with what the device tells, line by line."""
    told = row.told.twin if row.told else None
    lines = []
    if row.desired:
        same_store = told is not None and told.applied_incarnation == row.desired.incarnation
        applied = f"version {told.applied_version}" if told and same_store else "nothing yet"
        lines.append(TwinLine("twin", f"version {row.desired.version}", applied))
    for state in row.models:
        wanted = f"release {state.offer.release_seq} · {state.offer.bundle[:8]}" if state.offer else ""
        runs = f"release {state.running.release_seq} · {state.running.bundle[:8]}" if state.running else "nothing"
        lines.append(TwinLine(state.model, wanted or runs, runs))
    if told:
        lines += [TwinLine(part, "as wished", f"refused: {why}") for part, why in told.refused.items()]
        lines.append(TwinLine("channel", row.device.channel, told.channel or row.device.channel))
    return tuple(lines)


def lane_lines(row: DeviceRow, held: tuple[LedgerRow, ...]) -> tuple[LaneLine, ...]:
    """Pair the device's ledger with the hub's: the running epoch first, then older ones that only the hub knows."""
    told = row.told.twin.ledger if row.told else {}
    by_key = {(line.epoch, str(line.lane)): line for line in held}
    lines = [
        LaneLine(report.epoch, lane, report, by_key.pop((report.epoch, lane), None)) for lane, report in told.items()
    ]
    lines += [LaneLine(epoch, lane, None, line) for (epoch, lane), line in by_key.items()]
    order = [str(lane) for lane in Lane]
    lines.sort(key=lambda line: (line.told is None, line.epoch, order.index(line.lane) if line.lane in order else 99))
    return tuple(lines)


def _facts(row: DeviceRow) -> tuple[tuple[str, str], ...]:
    told: Mapping[str, Any] = {**row.device.facts, **(row.told.twin.facts if row.told else {})}
    names = [name for name in _FACTS if name in told] + sorted(set(told) - set(_FACTS))
    return tuple((name, said) for name in names if (said := _plain(told[name])))


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

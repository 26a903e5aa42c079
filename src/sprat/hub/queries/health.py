"""How a device is, and why: pure rules over what it told and what arrived from it.

Each finding has a reason code, a time since when it holds and the health that it leads to; the worst finding names
the device's health. A device without a finding is healthy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sprat.hub.queries.sentences import sentence
from sprat.hub.queries.signals import Signals
from sprat.hub.store.fleet_twins import ReportedTwin
from sprat.hub.store.rows import Device
from sprat_device.contract.phases import InstallPhase

DRIFT_LIMIT: Final = 0.2
"""PSI at which an input counts as shifted, by custom (Siddiqi 2006)."""
ERROR_LIMIT: Final = 0.05
HOT_CELSIUS: Final = 80.0
_FAILED: Final = frozenset({InstallPhase.REFUSED, InstallPhase.REVERTED})


class Health(StrEnum):
    """The state of a device in the fleet, the worst first."""

    SILENT = "silent"
    DEGRADED = "degraded"
    DRIFTING = "drifting"
    WAITING = "waiting"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; `detail` is the device's own word and hostile until escaped."""

    code: str
    health: Health
    since_us: int
    model: str = ""
    detail: str = ""
    phase: str = ""

    @property
    def sentence(self) -> str:
        """Return what the code means and what to do."""
        return sentence(self.code)


def findings(device: Device, told: ReportedTwin | None, signals: Signals) -> tuple[Finding, ...]:
    """Return everything that is not as it should be with one device, the worst first."""
    if told is None and not device.presence_us:
        return (Finding("not-seen", Health.WAITING, device.enrolled_us),)
    found = [*_presence(device), *_installs(told), *_ledger(told), *_signals(signals)]
    return tuple(sorted(found, key=lambda finding: list(Health).index(finding.health)))


def health_of(found: Iterable[Finding]) -> Health:
    """Return the worst health that the findings lead to."""
    order = list(Health)
    return min((finding.health for finding in found), key=order.index, default=Health.HEALTHY)


def _presence(device: Device) -> list[Finding]:
    return [] if device.online else [Finding("silent", Health.SILENT, device.presence_us or device.seen_us)]


def _installs(told: ReportedTwin | None) -> list[Finding]:
    found = []
    for model, report in told.twin.models.items() if told else ():
        install = report.install
        if install.phase in _FAILED:
            found.append(
                Finding(
                    install.reason, Health.DEGRADED, told.received_us if told else 0, model,
                    install.detail, f"{install.phase} {install.release_seq}",
                )
            )  # fmt: skip
        if report.active is not None and not report.running:
            found.append(Finding("no-session", Health.DEGRADED, told.received_us if told else 0, model))
    return found


def _ledger(told: ReportedTwin | None) -> list[Finding]:
    found = []
    for lane, report in told.twin.ledger.items() if told else ():
        since = told.received_us if told else 0
        if not report.balanced():
            found.append(Finding("ledger", Health.DEGRADED, since, detail=f"lane {lane}"))
        if report.damaged:
            found.append(Finding("damaged", Health.DEGRADED, since, detail=f"{report.damaged} records of {lane}"))
    return found


def _signals(signals: Signals) -> list[Finding]:
    found = []
    tried = signals.predictions + signals.errors
    if tried and signals.errors / tried > ERROR_LIMIT:
        detail = f"{signals.errors} of {tried} in the last hour, limit {ERROR_LIMIT:.0%}"
        found.append(Finding("errors", Health.DEGRADED, signals.read_us, detail=detail))
    if signals.temperature_c is not None and signals.temperature_c >= HOT_CELSIUS:
        detail = f"{signals.temperature_c:.0f} °C, limit {HOT_CELSIUS:.0f} °C"
        found.append(Finding("hot", Health.DEGRADED, signals.read_us, detail=detail))
    if signals.power:
        found.append(Finding("power", Health.DEGRADED, signals.read_us, detail=signals.power))
    if signals.drift is not None and signals.drift >= DRIFT_LIMIT:
        detail = f"{signals.drift_feature}: PSI {signals.drift:.2f}, limit {DRIFT_LIMIT}"
        found.append(Finding("drift", Health.DRIFTING, signals.read_us, detail=detail))
    return found

"""What the API's and the console's routes work with: one frozen value, put together by `app.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sprat.hub.broker import Broker
from sprat.hub.fleet.enrolment import Enrolment
from sprat.hub.fleet.logins import People
from sprat.hub.fleet.twins import Twins
from sprat.hub.folder import HubFolder
from sprat.hub.releases import ReleaseDesk
from sprat.hub.rollouts.dispatch import Dispatcher
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rollouts import RolloutStore
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.wheelhouses import Wheelhouses
from sprat_device.contract.ids import DeviceId


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running hub."""

    folder: HubFolder
    store: FleetStore
    telemetry: TelemetryStore
    people: People
    enrolment: Enrolment
    twins: Twins
    releases: ReleaseDesk
    rollouts: RolloutStore
    dispatcher: Dispatcher
    broker: Broker
    names: tuple[str, ...]
    """Names and addresses in the hub's certificate; the first is the one that devices are told."""
    now_us: Callable[[], int]

    @property
    def wheelhouses(self) -> Wheelhouses:
        """What boards install the agent from."""
        return Wheelhouses(self.folder.wheelhouses)


def revoke(services: Services, device: DeviceId, who: str) -> None:
    """Put a device out of the fleet: in the store, then at the broker, at once."""
    services.enrolment.revoke(device, who)
    services.twins.clear(device)
    refuse_revoked(services)


def refuse_revoked(services: Services) -> None:
    """Bring the broker's rights and the CRL up to the store; a CRL must be renewed before it expires."""
    revoked = [device.id for device in services.store.devices.all(revoked=True) if device.revoked_us]
    services.broker.refuse(revoked, services.enrolment.revocation_list())

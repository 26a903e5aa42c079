"""The parts of a hub that run beside its ports, put together: stores, broker, link, ingest, and the chores.

Order up: broker, link, ingest; order down is the reverse. What is a process of its own is started again when it ends.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from sprat.errors import HubUnreachable
from sprat.hub.broker import INGEST_USER, Broker, reachable
from sprat.hub.demo_broker import choose
from sprat.hub.fleet.enrolment import Enrolment
from sprat.hub.fleet.identity import Authority
from sprat.hub.fleet.link import HubLink
from sprat.hub.fleet.logins import People
from sprat.hub.fleet.presence import Presence
from sprat.hub.fleet.twins import Twins
from sprat.hub.folder import Endpoint, HubFolder
from sprat.hub.founding import names, renew_certificates, utc_now
from sprat.hub.ports import LOOPBACK_HOSTS, require_free
from sprat.hub.processes import Child
from sprat.hub.releases import ReleaseDesk
from sprat.hub.rollouts.dispatch import Dispatcher
from sprat.hub.services import Services, refuse_revoked
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rollouts import RolloutStore
from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore

_log = logging.getLogger(__name__)
_TICK_S: Final = 1.0
_DAY_S: Final = 24 * 3600.0
_LINK_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a hub listens; a device or MQTT port of 0 takes a free one and keeps it, for devices have pinned it."""

    console_host: str = "127.0.0.1"
    console_port: int = 8080
    device_host: str | None = None
    """None: every address of the machine if `hub init` was given a name, else loopback."""
    device_port: int = 8443
    mqtt_port: int = 8883
    demo_broker: bool = False
    """Where there is no mosquitto, take the demo's broker on loopback."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs beside the ports."""

    services: Services
    broker: Broker
    link: HubLink
    presence: Presence
    ingest: Child

    def start(self) -> None:
        """Start them in order."""
        self.services.releases.follow()
        self.services.releases.refresh()
        self.presence.everyone_away()
        refuse_revoked(self.services)
        self.broker.start()
        self.services.dispatcher.replay()
        self.link.start(self.services.twins.send_all)
        self._await_link()
        if self.ingest.adopt():
            self.ingest.stop()
        self.ingest.start()

    def stop(self) -> None:
        """End them in reverse."""
        self.ingest.stop()
        self.link.stop()
        self.broker.stop()

    def chores(self) -> tuple[tuple[str, float, Callable[[], object]], ...]:
        """Return what is done again and again: a name, every how many seconds, and what."""
        return (
            ("children", _TICK_S, self.look_after),
            ("rollouts", _TICK_S, self.services.dispatcher.tick),
            ("timestamp", _DAY_S, self.services.releases.refresh),
            ("revocation list", _DAY_S, lambda: refuse_revoked(self.services)),
        )

    def look_after(self) -> None:
        """Start again what has ended."""
        if not self.broker.alive():
            _log.error("the broker ended; starting it again")
            self.presence.everyone_away()
            self.broker.start()
        if not self.ingest.alive():
            _log.error("ingest ended (%s); starting it again", self.ingest.last_words())
            self.ingest.start()

    def _await_link(self) -> None:
        end = time.monotonic() + _LINK_S
        while not self.link.connected():
            if time.monotonic() > end:
                raise HubUnreachable(f"the broker does not let the hub in within {_LINK_S:.0f} s; its log says more")
            time.sleep(0.02)


@contextmanager
def assembled(folder: HubFolder, listen: Listen) -> Iterator[Parts]:
    """Open a hub's stores and put its parts together; nothing is started yet."""
    with ExitStack() as stores:
        store = stores.enter_context(FleetStore(folder.fleet_db))
        telemetry_store = stores.enter_context(TelemetryStore(folder.root / FILE_NAME))
        authority = Authority.load(folder.authority)
        all_names = names(store)
        renew_certificates(folder, authority, all_names, utc_now())
        host = listen.device_host or ("127.0.0.1" if set(all_names) <= LOOPBACK_HOSTS else "0.0.0.0")  # noqa: S104
        endpoint = Endpoint(host, kept_port(store, "mqtt", host, listen.mqtt_port))
        broker = choose(folder, endpoint, demo=listen.demo_broker)
        presence = Presence(store, now_us)
        link = HubLink(folder, reachable(broker.endpoint), presence)
        twins = Twins(store, link.publish, now_us)
        rollout_store = RolloutStore(store)
        services = Services(
            folder=folder,
            store=store,
            telemetry=telemetry_store,
            people=People(store, now_us),
            enrolment=Enrolment(store, authority, now_us),
            twins=twins,
            releases=ReleaseDesk(folder, store, now_us),
            rollouts=rollout_store,
            dispatcher=Dispatcher(store, rollout_store, telemetry_store, twins, now_us),
            broker=broker,
            names=all_names,
            now_us=now_us,
        )
        yield Parts(services, broker, link, presence, _ingest(folder, reachable(broker.endpoint)))


def kept_port(store: FleetStore, name: str, host: str, wanted: int) -> int:
    """Return the port to listen on; one that was chosen once stays, for devices have pinned it."""
    if wanted:
        return wanted
    kept = int(store.fact(f"{name}-port", "0"))
    if not kept:
        kept = require_free(host, 0, f"--{name}-port")
        store.set_fact(f"{name}-port", str(kept))
    return kept


def _ingest(folder: HubFolder, endpoint: Endpoint) -> Child:
    pair = folder.pair(INGEST_USER)
    argv = (
        sys.executable, "-m", "sprat.hub.telemetry.ingest", str(folder.root), "--mqtt-host", endpoint.host,
        "--mqtt-port", str(endpoint.port), "--ca", str(folder.authority.certificate), "--cert", str(pair.certificate),
        "--key", str(pair.key),
    )  # fmt: skip
    return Child("ingest", argv, folder.logs)


def now_us() -> int:
    """Return the wall clock in microseconds since 1970."""
    return time.time_ns() // 1000

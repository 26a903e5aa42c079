"""The composition root: puts a hub's parts together, runs them, and ends them in order.

Order up: lock, stores, broker, link, ingest, ports; order down is the reverse. `run.json` stands while all of it is
ready. What is a process of its own is started again when it ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI

from sprat.errors import HubUnreachable, Refused
from sprat.hub import http
from sprat.hub.access import require_declared
from sprat.hub.api import device_port, devices, hub, releases, rollouts, telemetry
from sprat.hub.broker import INGEST_USER, Mosquitto, reachable
from sprat.hub.fleet.enrolment import Enrolment
from sprat.hub.fleet.identity import Authority
from sprat.hub.fleet.link import HubLink
from sprat.hub.fleet.logins import People
from sprat.hub.fleet.presence import Presence
from sprat.hub.fleet.twins import Twins
from sprat.hub.folder import Endpoint, HubFolder, write_private
from sprat.hub.founding import names, renew_certificates, utc_now
from sprat.hub.ports import LOOPBACK_HOSTS, Server, bind, console_server, device_server, require_free
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


def console_app(services: Services) -> FastAPI:
    """Put the port for people and programs together."""
    app = _app(services)
    for part in (hub, devices, releases, rollouts, telemetry):
        app.include_router(part.router)
    require_declared(app)
    return app


def device_app(services: Services) -> FastAPI:
    """Put the port for devices together."""
    app = _app(services)
    app.include_router(device_port.router)
    require_declared(app)
    return app


def run_until_told(folder: HubFolder, listen: Listen, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Run a hub until SIGINT or SIGTERM."""

    async def until_signal() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(folder, listen, stop, on_ready)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    asyncio.run(until_signal())


async def serve(
    folder: HubFolder, listen: Listen, stop: asyncio.Event, on_ready: Callable[[dict[str, Any]], None]
) -> None:
    """Run a hub until `stop` is set; `on_ready` is told its addresses."""
    async with AsyncExitStack() as parts:
        parts.enter_context(_locked(folder))
        whole = parts.enter_context(_assembled(folder, listen))
        console = bind(listen.console_host, listen.console_port, "--console-port")
        host = whole.broker.endpoint.host
        device = bind(host, _kept_port(whole.services.store, "device", host, listen.device_port), "--device-port")
        whole.start()
        parts.callback(whole.stop)
        servers = (
            (console_server(console_app(whole.services), folder, listen.console_host), console),
            (device_server(device_app(whole.services), folder), device),
        )
        tasks = [await parts.enter_async_context(_serving(server, bound)) for server, bound in servers]
        tasks += [await parts.enter_async_context(_repeated(*work)) for work in whole.chores()]
        run = _addresses(whole.services, listen, console, device)
        write_private(folder.run_file, json.dumps(run))
        parts.callback(folder.run_file.unlink, missing_ok=True)
        on_ready(run)
        await asyncio.wait([asyncio.create_task(stop.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
        _log.info("hub ends")


@dataclass(frozen=True, slots=True)
class _Whole:
    """The parts that run beside the ports."""

    services: Services
    broker: Mosquitto
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
def _assembled(folder: HubFolder, listen: Listen) -> Iterator[_Whole]:
    with ExitStack() as stores:
        store = stores.enter_context(FleetStore(folder.fleet_db))
        telemetry_store = stores.enter_context(TelemetryStore(folder.root / FILE_NAME))
        authority = Authority.load(folder.authority)
        all_names = names(store)
        renew_certificates(folder, authority, all_names, utc_now())
        host = listen.device_host or ("127.0.0.1" if set(all_names) <= LOOPBACK_HOSTS else "0.0.0.0")  # noqa: S104
        broker = Mosquitto(folder, Endpoint(host, _kept_port(store, "mqtt", host, listen.mqtt_port)))
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
        yield _Whole(services, broker, link, presence, _ingest(folder, reachable(broker.endpoint)))


@asynccontextmanager
async def _serving(server: Server, bound: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    try:
        yield task
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def _repeated(what: str, every_s: float, work: Callable[[], object]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(_repeat(what, every_s, work))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _repeat(what: str, every_s: float, work: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await asyncio.to_thread(work)
        except Exception:  # noqa: BLE001 - logged whole; the next round may do better, and the other parts go on
            _log.exception("%s: this round failed", what)


@contextmanager
def _locked(folder: HubFolder) -> Iterator[None]:
    with folder.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Refused("already-running", f"a hub runs on {folder.root} already; end it first") from exc
        yield


def _kept_port(store: FleetStore, name: str, host: str, wanted: int) -> int:
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


def _addresses(
    services: Services, listen: Listen, console: socket.socket, device: socket.socket
) -> dict[str, Any]:  # fmt: skip
    name = services.names[0]
    console_port, device_port_ = console.getsockname()[1], device.getsockname()[1]
    on_loopback = listen.console_host in LOOPBACK_HOSTS
    return {
        "console_url": f"http://{listen.console_host}:{console_port}"
        if on_loopback
        else f"https://{name}:{console_port}",
        "device_url": f"https://{name}:{device_port_}",
        "mqtt_host": name,
        "mqtt_port": services.broker.endpoint.port,
        "pid": os.getpid(),
    }


def _app(services: Services) -> FastAPI:
    app = FastAPI(title="Sprat hub", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.services = services
    http.install(app)
    return app


def now_us() -> int:
    """Return the wall clock in microseconds since 1970."""
    return time.time_ns() // 1000

"""The composition root: a hub's two apps over its parts, served until told to stop.

Order up: lock, parts, ports; order down is the reverse. `run.json` stands while all of it is ready.
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
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from fastapi import FastAPI

from sprat.errors import Refused
from sprat.hub import http
from sprat.hub.access import require_declared
from sprat.hub.api import boards, device_port, devices, hub, releases, rollouts, telemetry
from sprat.hub.console import console_router
from sprat.hub.demo_broker import warning_of
from sprat.hub.folder import HubFolder, write_private
from sprat.hub.parts import Listen, assembled, kept_port
from sprat.hub.ports import LOOPBACK_HOSTS, Server, bind, console_server, device_server
from sprat.hub.services import Services

__all__ = ["Listen", "console_app", "device_app", "run_until_told", "serve"]
_log = logging.getLogger(__name__)


def console_app(services: Services) -> FastAPI:
    """Put the port for people and programs together."""
    app = _app(services)
    for part in (hub, devices, releases, rollouts, telemetry):
        app.include_router(part.router)
    app.include_router(console_router(services, warning=warning_of(services.broker)))
    require_declared(app)
    return app


def device_app(services: Services) -> FastAPI:
    """Put the port for devices together."""
    app = _app(services)
    for part in (device_port, boards):
        app.include_router(part.router)
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
        whole = parts.enter_context(assembled(folder, listen))
        console = parts.enter_context(bind(listen.console_host, listen.console_port, "--console-port"))
        host = whole.broker.endpoint.host
        port = kept_port(whole.services.store, "device", host, listen.device_port)
        device = parts.enter_context(bind(host, port, "--device-port"))
        parts.callback(whole.stop)  # also ends what a failing start had begun
        whole.start()
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
    end = asyncio.Event()
    task = asyncio.create_task(_repeat(what, every_s, work, end))
    try:
        yield task
    finally:
        end.set()  # not cancelled: a round that has begun is let finish before its stores are closed
        await task


async def _repeat(what: str, every_s: float, work: Callable[[], object], end: asyncio.Event) -> None:
    while not await _set_within(end, every_s):
        try:
            await asyncio.to_thread(work)
        except Exception:  # noqa: BLE001 - logged whole; the next round may do better, and the other parts go on
            _log.exception("%s: this round failed", what)


async def _set_within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        return await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return False


@contextmanager
def _locked(folder: HubFolder) -> Iterator[None]:
    with folder.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Refused("already-running", f"a hub runs on {folder.root} already; end it first") from exc
        yield


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

"""The process around the agent: settings, logging, signals, and the wiring of real parts."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from sprat_device.agent import Agent, Inbox
from sprat_device.board import identity as identities
from sprat_device.board import settings as settings_
from sprat_device.board import tls
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity
from sprat_device.board.settings import DeviceSettings
from sprat_device.contract.errors import MachineLacks
from sprat_device.inference import runtimes
from sprat_device.install.installer import Installer
from sprat_device.install.trusted_time import TrustedClock
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool
from sprat_device.telemetry.transport import Endpoint, MqttTransport
from sprat_device.telemetry.uplink import Uplink

_LOG: Final = logging.getLogger("sprat.agent")


def run(state: Path) -> int:
    """Run the agent until SIGTERM or SIGINT; 0 after a clean end."""
    settings = _settings(state)
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    identity = _identity(state, settings)
    with _alone(state):
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        _LOG.info("%s starts, state in %s", identity.device, state)
        _compose(state, settings, identity).run(stopping.is_set)
        _LOG.info("%s ends", identity.device)
    return 0


def show_settings(state: Path) -> int:
    """Print every setting and where it came from."""
    for key, value, origin in _settings(state).describe():
        print(f"{key:34} {value:24} {origin}")  # noqa: T201 - the command's output
    return 0


def _compose(state: Path, settings: DeviceSettings, identity: Identity) -> Agent:
    files, found = OsFiles(), runtimes.available()
    clock = SystemClock(settings.clock_state)
    spool = DiskSpool(files, state / "spool", cap_bytes=settings.telemetry.cap_bytes)
    recorder = Recorder(spool, clock, settings.telemetry)
    trusted = TrustedClock(state, files=files, clock=clock)

    def secured() -> ssl.SSLContext:
        """Read the identity anew for each connection: its certificate is renewed now and then."""
        return tls.context(
            ca=identity.ca, certificate=identity.certificate, key=identity.key, trusted_us=trusted.now_us
        )

    secured()  # an identity that cannot be loaded is said at the start
    endpoint = Endpoint(identity.mqtt_host, identity.mqtt_port, identity.device, secured)

    def uplink(inbox: Inbox) -> Uplink:
        return Uplink(
            identity.device, spool, MqttTransport(endpoint), clock, settings.telemetry,
            on_desired=inbox.put, on_command=inbox.put,
        )  # fmt: skip

    return Agent(
        state=state,
        settings=settings,
        identity=identity,
        files=files,
        clock=clock,
        spool=spool,
        recorder=recorder,
        installer=Installer(state, files, clock, settings.install, identity, runtimes=found),
        runtimes=found,
        uplink=uplink,
    )


def _settings(state: Path) -> DeviceSettings:
    return settings_.load(state, environment=os.environ)


def _identity(state: Path, settings: DeviceSettings) -> Identity:
    """Return who this device is, by the way to the hub that the settings prefer."""
    found = identities.load(state)
    hub = settings.hub
    return replace(
        found,
        hub_url=hub.url or found.hub_url,
        mqtt_host=hub.mqtt_host or found.mqtt_host,
        mqtt_port=hub.mqtt_port or found.mqtt_port,
    )


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Hold the state folder's lock: two agents on one spool would break its ledger."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise MachineLacks(f"{state}: another sprat-device runs here; end it first") from exc
        yield

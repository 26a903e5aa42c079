"""The process around the agent: settings, logging, signals, and the wiring of real parts."""

from __future__ import annotations

import faulthandler
import logging
import os
import shutil
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from sprat_device import VERSION
from sprat_device.agent import Agent, Ending, Inbox
from sprat_device.board import alone, logs, tls
from sprat_device.board import identity as identities
from sprat_device.board import settings as settings_
from sprat_device.board import state as layout
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import Files, OsFiles
from sprat_device.board.held import HeldFiles, why_not_writable
from sprat_device.board.identity import Identity
from sprat_device.board.logs import LogHandler
from sprat_device.board.notify import Notifier
from sprat_device.board.runs import End, Runs
from sprat_device.board.settings import DeviceSettings
from sprat_device.board.signals import Signals, hold_back
from sprat_device.board.volatile import STATUS_FILE
from sprat_device.contract import twin
from sprat_device.contract.errors import ContractError, SpratError
from sprat_device.contract.last_errors import LastError
from sprat_device.inference import artifacts
from sprat_device.inference.runtimes import health
from sprat_device.install.installer import Installer
from sprat_device.install.trusted_time import TrustedClock
from sprat_device.telemetry.budget import KeptBudget
from sprat_device.telemetry.last_errors import LastErrors
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool, Spool
from sprat_device.telemetry.transport import Endpoint, MqttTransport
from sprat_device.telemetry.unkept import UnkeptSpool
from sprat_device.telemetry.uplink import Uplink

_LOG: Final = logging.getLogger("sprat.agent")
_HEALS_AFTER_S: Final = 60.0
"""An agent on a disk that fails now and then begins anew at most once a minute."""
_ROOM_BYTES: Final = 1024 * 1024


def run(state: Path, signals: Signals | None = None) -> int:
    """Run the agent until SIGTERM or SIGINT; 0 after a clean end, which a second signal does not wait for."""
    signals = signals or Signals()
    faulthandler.enable()  # a watchdog ends a hung agent by SIGABRT: every thread then says where it is
    settings = _settings(state)
    log = logs.set_up(settings.log_level, settings.log_format)
    notifier = Notifier.of_environment()
    identities.finish_replacement(state, OsFiles())
    identity = _identity(state, settings)
    with alone.hold(state):
        _LOG.info("%s starts, state in %s", identity.device, state)
        files = _files(state)
        layout.prepare(state, files, agent=VERSION)
        identities.keep_copy(identity, files)
        _make_scratch(state, files)
        clock = SystemClock(settings.clock_state)
        runs = Runs(state, files, boot_id=clock.boot_id)
        runs.begin()
        try:
            agent = _compose(state, settings, identity, files=files, clock=clock, runs=runs, log=log, notifier=notifier)
            ending = agent.run(signals.hand_over(agent.ask_reload))
        except SystemExit:  # asked to end before there was an agent
            runs.end(End.CLEAN)
            raise
        except Exception as exc:
            _LOG.critical("the agent ends by a defect", exc_info=not isinstance(exc, SpratError))
            runs.end(End.CRASH, f"{type(exc).__name__}: {exc}")
            raise
        runs.end(End.RESTART if ending is Ending.RESTART else End.CLEAN)
        _LOG.info("%s ends", identity.device)
    if ending is Ending.RESTART:
        notifier.give_back(os.environ)
        hold_back()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program, without a shell
    if agent.stuck:
        _LOG.warning("%s did not end in time and ends with the process", ", ".join(agent.stuck))
        os._exit(0)  # the interpreter would wait for a thread that may never come back
    return 0


def settings_of(state: Path) -> list[tuple[str, str, str]]:
    """Return (key, value, where it came from) of every setting."""
    return _settings(state).describe()


def _compose(
    state: Path,
    settings: DeviceSettings,
    identity: Identity,
    *,
    files: Files,
    clock: SystemClock,
    runs: Runs,
    log: LogHandler,
    notifier: Notifier,
) -> Agent:
    examined = health.known(state)
    found = health.usable(examined)
    spool = _spool(state, settings)
    recorder = Recorder(spool, clock, settings.telemetry, kept_budget=KeptBudget(files, state / "budget.json"),
                        last_errors=LastErrors(_errors_before(state)))  # fmt: skip
    for broken in (each for each in examined if not each.ok):
        recorder.event("runtime-fails", asdict(broken))
    trusted = TrustedClock(state, files=files, clock=clock)

    def secured() -> ssl.SSLContext:
        """Read the identity anew for each connection: its certificate is renewed now and then."""
        return tls.context(
            ca=identity.ca, certificate=identity.certificate, key=identity.key, trusted_us=trusted.now_us
        )

    endpoint = Endpoint(identity.mqtt_host, identity.mqtt_port, identity.device, secured)

    def uplink(inbox: Inbox) -> Uplink:
        return Uplink(
            identity.device, spool, MqttTransport(endpoint), clock, settings.telemetry,
            on_desired=inbox.put, on_command=inbox.put,
            on_clash=lambda why: recorder.event("identity-clash", {"detail": why}),
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
        read_settings=lambda: _settings(state),
        notifier=notifier,
        log=log,
        runs=runs,
        healed=_healed(state) if isinstance(files, HeldFiles) or isinstance(spool, UnkeptSpool) else lambda: False,
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


def _files(state: Path) -> Files:
    """Return the disk, or one that is only read where nothing can be written."""
    why = why_not_writable(state, OsFiles())
    if not why:
        return OsFiles()
    _LOG.error(
        "%s cannot be written (%s): inference goes on with what is installed, nothing new is kept; "
        "make room or mount it writable, and the agent begins anew",
        state, why,
    )  # fmt: skip
    return HeldFiles()


def _make_scratch(state: Path, files: Files) -> None:
    """Give libraries and children a folder for scratch files on the disk, empty: /tmp is memory on many boards, or missing."""
    folder = state / "tmp"
    os.environ["TMPDIR"] = str(folder)
    if isinstance(files, OsFiles) and not isinstance(files, HeldFiles):
        shutil.rmtree(folder, ignore_errors=True)  # what children left that were killed
        folder.mkdir(mode=0o700, exist_ok=True)
        artifacts.remove_parts(state / "artifacts")


def _spool(state: Path, settings: DeviceSettings) -> Spool:
    try:
        return DiskSpool(OsFiles(), state / "spool", cap_bytes=settings.telemetry.cap_bytes)
    except OSError as exc:
        _LOG.error("telemetry is counted and lost: no spool in %s (%s)", state, exc)
        return UnkeptSpool(epoch=int.from_bytes(os.urandom(8), "big"))


def _healed(state: Path) -> Callable[[], bool]:
    begun_s = time.monotonic()

    def healed() -> bool:
        if time.monotonic() < begun_s + _HEALS_AFTER_S:
            return False
        return OsFiles().free_bytes(state) >= _ROOM_BYTES and not why_not_writable(state, OsFiles())

    return healed


def _errors_before(state: Path) -> tuple[LastError, ...]:
    """Return the last errors that the run before told."""
    try:
        return twin.parse_reported((state / STATUS_FILE).read_bytes()).errors
    except (OSError, ContractError):
        return ()  # none was, or it is damaged: the list begins anew

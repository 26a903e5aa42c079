"""The agent: wires the rooms together and runs the loop.

One process: this loop infers and now and then does the housekeeping (installs, the twin, health); a spool-writer thread
and the MQTT thread stand behind the Recorder and the Uplink. Inference starts from the last good slot with no network,
no clock and no hub. Messages of the hub arrive on the MQTT thread and are only queued there.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sprat_device import VERSION
from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.board.health import Health, facts
from sprat_device.board.identity import Identity
from sprat_device.board.settings import FILE_NAME, DeviceSettings, InputSettings
from sprat_device.commands import Commands
from sprat_device.contract import summary, twin
from sprat_device.contract.errors import ContractError
from sprat_device.contract.ids import ModelName
from sprat_device.contract.records import Origin
from sprat_device.contract.twin import Desired, Installed
from sprat_device.inference.loop import Loop
from sprat_device.inference.session import Session
from sprat_device.inference.sources import open_source
from sprat_device.install.installer import Installer
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import Spool
from sprat_device.telemetry.uplink import Command, Uplink

_LOG: Final = logging.getLogger("sprat.agent")
_HOUSEKEEPING_US: Final = 250_000
_REPORT_US: Final = 2_000_000
"""Changing counters alone are told at most this often; a change of phase or slot is told at once."""


@dataclass(slots=True)
class Stream:
    """One input: its settings, and the loop that exists once a bundle for its model has been loaded."""

    wanted: InputSettings
    loop: Loop | None = None
    followed: Installed | None = None
    """What the slot held when it was last looked at: loaded, or tried in vain. It is not tried again."""
    runtime: str = ""

    @property
    def digest(self) -> str:
        """Return the digest of the bundle that answers, empty if none does."""
        return "" if self.loop is None else self.loop.running


@dataclass(slots=True)
class Inbox:
    """What the MQTT thread leaves for the loop."""

    desired: queue.SimpleQueue[Desired] = field(default_factory=queue.SimpleQueue)
    commands: queue.SimpleQueue[Command] = field(default_factory=queue.SimpleQueue)


class Agent:
    """Composition and loop of one device."""

    def __init__(
        self,
        *,
        state: Path,
        settings: DeviceSettings,
        identity: Identity,
        files: Files,
        clock: Clock,
        spool: Spool,
        recorder: Recorder,
        installer: Installer,
        runtimes: Mapping[str, str],
        uplink: Callable[[Inbox], Uplink],
    ) -> None:
        self._state = state
        self._settings = settings
        self._identity = identity
        self._files = files
        self._clock = clock
        self._spool = spool
        self._recorder = recorder
        self._health = Health()
        self._installer = installer
        self._inbox = Inbox()
        self._uplink = uplink(self._inbox)
        self._streams = [Stream(wanted) for wanted in settings.inputs]
        self._commands = Commands({"ping": lambda _arguments: {"agent": VERSION}})
        self._facts = facts(state, runtimes=runtimes, agent=VERSION)
        self._desired = self._last_desired()
        self._reported = twin.Reported(version=self._reserve_versions())
        self._next_housekeeping_us = 0
        self._next_report_us = 0
        self._next_health_us = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """Run until `stopped`; then flush what is buffered."""
        self._recorder.start()
        self._installer.boot()
        # The desired state is kept before its offers are taken: a cut between the two must not lose them.
        self._take_offers()
        self._follow_slots()
        self._warn_of_unfed_models()
        self._recorder.event("agent-started", {"agent": VERSION, "clock": self._clock.state()})
        self._uplink.start()
        try:
            while not stopped():
                self._step()
        finally:
            self._installer.stop()
            self._report(force=True)
            self._recorder.event("agent-stopped", {})
            for stream in self._streams:
                if stream.loop is not None:
                    stream.loop.close()
            self._recorder.close()
            self._uplink.stop()
            self._spool.close()

    def _step(self) -> None:
        now = self._clock.monotonic_us()
        if now >= self._next_housekeeping_us:
            self._next_housekeeping_us = now + _HOUSEKEEPING_US
            self._keep_house(now)
        running = [stream.loop for stream in self._streams if stream.loop is not None and stream.loop.running]
        # With one source the wait may be long: housekeeping comes back on its own clock.
        wait_s = _HOUSEKEEPING_US / 1e6 / max(1, len(running))
        for loop in running:
            loop.step(wait_s)
        if not running:
            self._take_mail(timeout_s=wait_s)

    def _keep_house(self, now_us: int) -> None:
        self._take_mail(timeout_s=0)
        self._installer.tick()
        self._follow_slots()
        for code, detail in self._installer.events():
            self._recorder.event(code, detail)
            _LOG.info("%s: %s", code, ", ".join(f"{key} {value}" for key, value in detail.items() if value))
        if now_us >= self._next_health_us:
            self._next_health_us = now_us + int(self._settings.telemetry.summary_interval_s * 1e6)
            self._recorder.summary(summary.HEALTH_CODE, self._health.sample())
        self._report(force=False)

    # Loading

    def _warn_of_unfed_models(self) -> None:
        for model in set(self._identity.models) - {stream.wanted.model for stream in self._streams}:
            _LOG.warning(
                "%s: no input feeds it, so nothing is predicted and no trial ends; add an [[inputs]] to %s",
                model, self._state / FILE_NAME,
            )  # fmt: skip

    def _follow_slots(self) -> None:
        """Let each stream answer with what the slot of its model holds."""
        for stream in self._streams:
            model = ModelName(stream.wanted.model)
            held = self._installer.active(model)
            installed = held[0] if held else None
            if installed == stream.followed:
                continue
            stream.followed = installed
            if held is not None:
                self._load(stream, Origin(model, held[0].release_seq, held[0].bundle), held[1])
            elif stream.loop is not None:
                stream.loop.unload()
                _LOG.warning("%s: no bundle is left to answer, waiting for an offer", model)

    def _load(self, stream: Stream, origin: Origin, path: Path) -> None:
        """Load a bundle; one that cannot be loaded is told to the installer, which reverts, and the old one goes on."""
        try:
            session = Session.open(
                path, cache=self._state / "artifacts", prefer=self._settings.runtime.prefer,
                threads=self._settings.runtime.threads,
            )  # fmt: skip
            self._swap(stream, session, origin)
        # Not only our own errors: whatever a runtime throws at a bad artifact must end in a revert, not in a dead agent.
        except Exception as exc:  # noqa: BLE001
            _LOG.exception("%s: bundle %s cannot be loaded", origin.model, origin.bundle[:12])
            self._recorder.event("not-loaded", {"bundle": origin.bundle, "detail": str(exc)[:500]}, model=origin.model)
            self._installer.not_loaded(origin.model, origin.bundle, str(exc))
        else:
            self._installer.loaded(origin.model, origin.bundle)

    def _swap(self, stream: Stream, session: Session, origin: Origin) -> None:
        if stream.loop is None:
            source = open_source(stream.wanted, session.manifest, self._clock)
            interval_s = self._settings.telemetry.summary_interval_s
            stream.loop = Loop(
                source, self._recorder, self._clock, self._observe(stream, origin.model), summary_interval_s=interval_s
            )
        stream.loop.swap(session, origin)
        stream.runtime = session.runtime
        _LOG.info(
            "%s: release %d (%s) answers on %s", origin.model, origin.release_seq, origin.bundle[:12], session.runtime
        )

    def _observe(self, stream: Stream, model: ModelName) -> Callable[[bool, int], None]:
        def outcome(ok: bool, latency_us: int) -> None:
            self._installer.observe(model, stream.digest, ok, latency_us)

        return outcome

    # The twin

    def _take_mail(self, *, timeout_s: float) -> None:
        wait = timeout_s
        while True:
            try:
                desired = self._inbox.desired.get(timeout=wait) if wait else self._inbox.desired.get_nowait()
            except queue.Empty:
                break
            wait = 0
            self._apply(desired)
        while not self._inbox.commands.empty():
            command = self._inbox.commands.get_nowait()
            self._uplink.publish_reply(command, self._commands.answer(command.name, command.payload))

    def _apply(self, desired: Desired) -> None:
        """Take a desired state that is newer, or of another incarnation (a restored hub starts with lower versions)."""
        if desired.incarnation == self._desired.incarnation and desired.version <= self._desired.version:
            return
        self._desired = desired
        self._files.write_atomic(self._state / "desired.json", desired.dump())
        self._recorder.apply(desired.telemetry)
        self._take_offers()

    def _take_offers(self) -> None:
        """Hand every offer to the installer; one that it knows changes nothing."""
        for model, offer in self._desired.offers.items():
            if model in self._identity.models:
                self._installer.offer(ModelName(model), offer)
            else:
                self._recorder.event("offer-ignored", {"model": model, "detail": "not among the models pinned here"})

    def _last_desired(self) -> Desired:
        path = self._state / "desired.json"
        if not self._files.exists(path):
            return Desired(incarnation="", version=0)
        try:
            return twin.parse_desired(self._files.read(path))
        except ContractError:
            # A damaged copy costs nothing: the hub's retained message is taken anew.
            return Desired(incarnation="", version=0)

    def _reserve_versions(self) -> int:
        """Return the first version of this start; a block is reserved at once, so versions rise without writes."""
        path = self._state / "reported.version"
        first = int(self._files.read(path)) if self._files.exists(path) else 0
        self._files.write_atomic(path, str(first + 1_000_000).encode())
        return first

    def _report(self, *, force: bool) -> None:
        current = self._describe()
        now = self._clock.monotonic_us()
        changed = _without_counters(current) != _without_counters(self._reported)
        if not (changed or force or now >= self._next_report_us):
            return
        self._next_report_us = now + _REPORT_US
        self._reported = replace(current, version=self._reported.version + 1)
        self._uplink.publish_reported(self._reported.dump())
        if changed or force:
            self._files.write_atomic(self._state / "status.json", self._reported.dump())

    def _describe(self) -> twin.Reported:
        streams = {stream.wanted.model: stream for stream in self._streams}
        models: dict[str, twin.ModelReport] = {}
        for model, (active, spare, install) in self._installer.reports().items():
            stream = streams.get(model)
            loop = stream.loop if stream else None
            models[model] = twin.ModelReport(
                active=active,
                spare=spare,
                install=install,
                running=stream.digest if stream else "",
                healthy=loop.healthy if loop else 0,
                errors=loop.errors if loop else 0,
            )
        running: Mapping[str, Any] = {stream.wanted.model: stream.runtime for stream in self._streams if stream.runtime}
        return twin.Reported(
            version=self._reported.version,
            applied_incarnation=self._desired.incarnation,
            applied_version=self._desired.version,
            agent=VERSION,
            boot_id=self._clock.boot_id.hex(),
            clock=self._clock.state(),
            channel=self._identity.channel,
            facts={**self._facts, "running": running},
            models=models,
            ledger=self._recorder.ledger(),
        )


def _without_counters(reported: twin.Reported) -> twin.Reported:
    """Return what a person would call a change: not the counters that move with every prediction."""
    models = {name: replace(model, healthy=0, errors=0) for name, model in reported.models.items()}
    return replace(reported, version=0, models=models, ledger={})

"""The main thread: installs, loads, and talks with the hub while the streams answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sprat_device import VERSION
from sprat_device.agent.inbox import Inbox, Mail
from sprat_device.agent.streams import LoopThread, Streams, Worker
from sprat_device.agent.twins import DesiredState, Reporter
from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.board.health import Health, facts
from sprat_device.board.identity import Identity
from sprat_device.board.settings import FILE_NAME, DeviceSettings
from sprat_device.commands import Commands
from sprat_device.contract import summary
from sprat_device.contract.errors import AgentFault
from sprat_device.contract.ids import ModelName
from sprat_device.inference.loop import Loop
from sprat_device.install.installer import Installer
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import Spool
from sprat_device.telemetry.uplink import Command, Uplink

_LOG: Final = logging.getLogger("sprat.agent")
_HOUSEKEEPING_S: Final = 0.25


class Agent:
    """Composition and main loop of one device."""

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
        work: Callable[[Loop, str], Worker] = LoopThread,
    ) -> None:
        self._state = state
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._spool = spool
        self._recorder = recorder
        self._installer = installer
        self._health = Health()
        self._inbox = Inbox()
        self._uplink = uplink(self._inbox)
        self._commands = Commands({"ping": lambda _arguments: {"agent": VERSION}})
        self._streams = Streams(state, settings, clock, recorder, installer, work=work)
        self._desired = DesiredState(state, files)
        self._reporter = Reporter(
            state, files, clock, identity=identity, installer=installer, streams=self._streams, recorder=recorder,
            facts=facts(state, runtimes=runtimes, agent=VERSION), publish=self._uplink.publish_reported,
        )  # fmt: skip
        self._next_health_us = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """Run until `stopped`; then flush what is buffered. AgentFault where a thread died: a restart is the remedy."""
        self._recorder.start()
        self._installer.boot()
        # The desired state is kept before its offers are taken: a cut between the two must not lose them.
        self._recorder.apply(self._desired.current.telemetry)
        self._take_offers()
        self._streams.follow_slots()
        self._warn_of_unfed_models()
        self._recorder.event("agent-started", {"agent": VERSION, "clock": self._clock.state()})
        self._uplink.start()
        try:
            while not stopped():
                self._keep_house()
                self._require_threads()
                for mail in self._inbox.wait(_HOUSEKEEPING_S):
                    self._take(mail)
        finally:
            self._stop()

    def _stop(self) -> None:
        self._installer.stop()
        self._reporter.report(self._desired.current, force=True)
        self._recorder.event("agent-stopped", {})
        self._streams.stop()
        self._recorder.close()
        self._uplink.stop()
        self._spool.close()

    def _keep_house(self) -> None:
        self._streams.pass_outcomes()
        self._installer.tick()
        self._streams.follow_slots()
        for code, detail in self._installer.events():
            self._recorder.event(code, detail)
            _LOG.info("%s: %s", code, ", ".join(f"{key} {value}" for key, value in detail.items() if value))
        now_us = self._clock.monotonic_us()
        if now_us >= self._next_health_us:
            self._next_health_us = now_us + int(self._settings.telemetry.summary_interval_s * 1e6)
            self._recorder.summary(summary.HEALTH_CODE, self._health.sample())
        self._reporter.report(self._desired.current)

    def _require_threads(self) -> None:
        dead = [f"input {name}" for name in self._streams.dead()]
        dead += ["spool writer"] * (not self._recorder.alive) + ["uplink"] * (not self._uplink.alive)
        if dead:
            raise AgentFault(
                f"{', '.join(dead)}: thread ended by a defect, which the log above tells; the agent starts anew"
            )

    def _warn_of_unfed_models(self) -> None:
        for model in set(self._identity.models) - self._streams.models:
            _LOG.warning(
                "%s: no input feeds it, so nothing is predicted and no trial ends; add an [[inputs]] to %s",
                model, self._state / FILE_NAME,
            )  # fmt: skip

    def _take(self, mail: Mail) -> None:
        if isinstance(mail, Command):
            self._uplink.publish_reply(mail, self._commands.answer(mail.name, mail.payload))
        elif self._desired.take(mail):
            self._recorder.apply(mail.telemetry)
            self._take_offers()

    def _take_offers(self) -> None:
        """Hand every offer to the installer; one that it knows changes nothing."""
        for model, offer in self._desired.current.offers.items():
            if model in self._identity.models:
                self._installer.offer(ModelName(model), offer)
            else:
                self._recorder.event("offer-ignored", {"model": model, "detail": "not among the models pinned here"})

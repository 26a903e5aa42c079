"""The main thread: installs, loads, and talks with the hub while the streams answer.

Started from what the disk holds, before there is a connection: the bundles answer first, the uplink comes last. At the
end the inputs go first and the spool last, so that nothing that was answered is lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Final

from sprat_device import VERSION
from sprat_device.agent import live_settings, orders, wishes
from sprat_device.agent.care import Care
from sprat_device.agent.desired import DesiredState
from sprat_device.agent.following import Following
from sprat_device.agent.inbox import Inbox, Mail, Reload
from sprat_device.agent.reloading import Reloader
from sprat_device.agent.reporter import Reporter
from sprat_device.agent.streams import Streams
from sprat_device.agent.summed_up import summed_up, warn_of_unfed
from sprat_device.agent.threads import Threads
from sprat_device.agent.vitals import Vitals
from sprat_device.agent.watching import Watching
from sprat_device.agent.workers import LoopThread, Worker
from sprat_device.board import logs
from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.board.health import facts
from sprat_device.board.identity import Identity
from sprat_device.board.logs import LogHandler
from sprat_device.board.notify import Notifier
from sprat_device.board.runs import Runs
from sprat_device.board.settings import FILE_NAME, DeviceSettings
from sprat_device.commands import Commands, Once
from sprat_device.contract import summary
from sprat_device.inference.live import Live
from sprat_device.inference.loop import Loop
from sprat_device.install.installer import Installer
from sprat_device.telemetry.hub_words import Command
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import Spool
from sprat_device.telemetry.uplink import Uplink

_LOG: Final = logging.getLogger("sprat.agent")
_HOUSEKEEPING_S: Final = 0.25
_SELDOM_S: Final = 5.0
"""Between two tries of what waits for a disk that failed."""
_STREAMS_END_S: Final = 1.0
_WRITER_ENDS_S: Final = 1.0
_UPLINK_ENDS_S: Final = 0.7
"""Together with half a second of the outputs and one of the captures less than the five seconds within which the agent
ends, whatever a source, the disk or the broker does."""


class Ending(Enum):
    """Why `run` came back."""

    STOPPED = auto()
    RESTART = auto()
    """The process shall begin anew: it was asked to, or its disk can be written again."""


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
        read_settings: Callable[[], DeviceSettings] | None = None,
        notifier: Notifier | None = None,
        log: LogHandler | None = None,
        runs: Runs | None = None,
        healed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wire; `healed` tells now and then whether a disk that could not be written at the start can be now."""
        self._settings_file = state / FILE_NAME
        self._identity = identity
        self._clock = clock
        self._spool = spool
        self._recorder = recorder
        self._installer = installer
        self._inbox = Inbox()
        self._uplink = uplink(self._inbox)
        self._notifier = notifier or Notifier()
        self._runs = runs or Runs(state, files, boot_id=clock.boot_id)
        self._healed = healed
        self._watching = Watching(
            state, settings, clock, files, recorder=recorder, installer=installer, models=identity.models
        )  # fmt: skip
        self._live_feed = Live(self._uplink.publish_live, settings.telemetry.live_per_s)
        self._streams = Streams(
            state, settings, clock, recorder, installer, work=work, runtimes=runtimes,
            watchers=lambda wanted: (*self._watching.of_input(wanted), self._live_feed),
        )  # fmt: skip
        self._desired = DesiredState(state, files)
        self._vitals = Vitals(state, clock, self._runs, lambda: self._streams.runtimes)
        fixed = facts(runtimes=runtimes, agent=VERSION)
        self._reporter = Reporter(
            state, files, clock, identity=identity, installer=installer, streams=self._streams, recorder=recorder,
            facts=lambda: {**fixed, **self._vitals.standing()}, publish=self._uplink.publish_reported,
            shadow=self._watching.report, refused=lambda desired: wishes.refused(self._reloader.local, desired),
        )  # fmt: skip
        self._commands = Commands(
            orders.handlers(
                reporter=self._reporter, recorder=recorder, log=log, reload=self._reload, restart=self._begin_anew,
                capture=self._watching.capture_now,
            ),
            allowed=settings.remote.commands, once=Once(files, state / "begun.json"),
        )  # fmt: skip
        self._reloader = Reloader(
            settings, read_settings or (lambda: settings),
            live_settings.appliers(
                log=log, recorder=recorder, uplink=self._uplink, live_feed=self._live_feed, streams=self._streams,
                watching=self._watching, installer=installer, commands=self._commands,
                desired=lambda: self._desired.current,
            ),
            recorder,
        )  # fmt: skip
        self._care = Care(clock, recorder, self._notifier, limit_s=settings.health.thread_limit_s)
        self._following = Following(
            self._desired, identity.models, recorder=recorder, reloader=self._reloader, installer=installer,
            watching=self._watching, care=self._care,
        )  # fmt: skip
        self._threads = Threads(self._streams, recorder, self._uplink)
        self._anew = False
        self._reload_asked = False
        self._next_seldom_s = 0.0
        self.stuck: list[str] = []
        """After `run`: the threads that did not end in time."""

    def ask_reload(self) -> None:
        """Have the settings read again; may be called by a signal's handler, of this thread, and so takes no lock."""
        if not self._reload_asked:  # a thousand signals are one wish
            self._reload_asked = True
            self._inbox.put(Reload())

    def run(self, stopped: Callable[[], bool]) -> Ending:
        """Run until `stopped`; then flush what is buffered. AgentFault where a thread died: a restart is the remedy."""
        self._recorder.start()
        self._installer.boot()
        # The desired state is kept before its offers are taken: a cut between the two must not lose them.
        self._watching.start()
        self._following.follow()
        self._streams.follow_slots()
        warn_of_unfed(self._streams, self._identity.models, self._settings_file)
        why = {"last_detail": self._runs.last_detail} if self._runs.last_detail else {}
        self._recorder.event("agent-started", {
            "agent": VERSION, "clock": self._clock.state(), "starts": self._runs.this.starts,
            "last_end": self._runs.last_end, **why,
        })  # fmt: skip
        self._uplink.start()
        self._notifier.ready(self._summed_up())
        try:
            while not (stopped() or self._anew):
                self._keep_house()
                self._threads.require_alive()
                for mail in self._inbox.wait(_HOUSEKEEPING_S):
                    self._take(mail)
        finally:
            self._stop()
        return Ending.RESTART if self._anew else Ending.STOPPED

    def _stop(self) -> None:
        self._notifier.stopping()
        self._care.attempt("install", self._installer.stop)
        self._reporter.report(self._desired.current, force=True)
        self._recorder.event("agent-stopped", {})
        self.stuck = self._streams.stop(_STREAMS_END_S)
        self._care.attempt("shadows", self._watching.stop)
        if not self._recorder.close(_WRITER_ENDS_S):
            self.stuck.append("spool writer")
        for mail in self._inbox.wait(0):  # what came meanwhile
            if isinstance(mail, Command):
                self._uplink.publish_reply(mail, self._commands.refuse(mail.name))
        if not self._uplink.stop(_UPLINK_ENDS_S):
            self.stuck.append("uplink")
        if "spool writer" not in self.stuck:  # else it holds the spool's lock
            self._recorder.settle()
            self._reporter.leave()
            self._care.attempt("spool", self._spool.close)
        self._reporter.close()

    def _keep_house(self) -> None:
        self._streams.pass_outcomes()
        self._care.attempt("install", self._installer.tick)
        self._streams.follow_slots()
        self._watching.follow()
        for code, detail in self._installer.events():
            self._recorder.event(code, detail)
            said = ", ".join(f"{key} {value}" for key, value in detail.items() if value)
            logs.log_event(_LOG, logging.INFO, code, said)
        self._care.watch_clock(self._reloader.current.health.clock_jump_s)
        self._care.feed_watchdog(self._threads.beats())
        if time.monotonic() >= self._next_seldom_s:
            self._next_seldom_s = time.monotonic() + _SELDOM_S
            self._look_seldom()
        if self._vitals.due(self._reloader.current.telemetry.summary_interval_s):
            self._recorder.summary(summary.HEALTH_CODE, self._vitals.record())
        self._reporter.report(self._desired.current)

    def _look_seldom(self) -> None:
        self._notifier.status(self._summed_up())
        if (told := self._installer.desired()) is not None:
            self._take(told)
        if self._desired.keep():
            self._following.follow()
        if self._healed():
            _LOG.warning("the state folder can be written again, the agent begins anew")
            self._begin_anew()

    def _summed_up(self) -> str:
        return summed_up(self._streams, self._identity.models, connected=self._uplink.connected)

    def _take(self, mail: Mail) -> None:
        match mail:
            case Command():
                self._uplink.publish_reply(mail, self._commands.answer(mail.name, mail.payload, mail.correlation))
            case Reload():
                self._reload_asked = False
                self._notifier.reloading()
                self._reload()
                self._notifier.ready(self._summed_up())
            case _:
                if self._desired.take(mail):
                    self._following.follow()

    def _reload(self) -> str:
        told = self._reloader.reload(self._desired.current)
        warn_of_unfed(self._streams, self._identity.models, self._settings_file)
        return told

    def _begin_anew(self) -> None:
        self._anew = True

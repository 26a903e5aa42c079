"""One input at a time: opened as the bundle of its model wants it, given a loop and a thread, and told while it fails.

An input that cannot be opened keeps none of the others from answering; it is tried again later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sprat_device.agent.stream import Model, Stream, label
from sprat_device.agent.workers import Worker
from sprat_device.board.clock import Clock
from sprat_device.board.logs import log_event
from sprat_device.board.settings import DeviceSettings, InputSettings
from sprat_device.contract.errors import SpratError
from sprat_device.contract.records import Origin
from sprat_device.contract.twin import Installed
from sprat_device.inference.loop import Loop
from sprat_device.inference.serve import OnDemand
from sprat_device.inference.session import Session
from sprat_device.inference.sources import open_inlet
from sprat_device.inference.sources.item import Tell
from sprat_device.inference.sources.reading import Source
from sprat_device.inference.telling import Outcome, Watcher
from sprat_device.telemetry.recorder import Recorder

_LOG: Final = logging.getLogger("sprat.agent")


class Inputs:
    """Lets inputs answer with a bundle, by the `settings` as they are then."""

    def __init__(
        self,
        state: Path,
        settings: DeviceSettings,
        clock: Clock,
        recorder: Recorder,
        serving: OnDemand,
        *,
        watchers: Callable[[InputSettings], Sequence[Watcher]],
        work: Callable[[Loop, str], Worker],
    ) -> None:
        self.settings = settings
        self._state = state
        self._clock = clock
        self._recorder = recorder
        self._serving = serving
        self._watchers = watchers
        self._work = work

    def take_up(self, stream: Stream, model: Model, session: Session, installed: Installed) -> bool:
        """Let one input answer with a bundle; one that does not fit is told, and keeps none of the others."""
        try:
            model.require_fit(session)
            source = self._source(stream, session)
        except SpratError as exc:
            self._tell_unfit(stream, str(exc))
            return False
        self._start(stream, model, session, installed, source)
        self._tell_unfit(stream, "")
        return True

    def _source(self, stream: Stream, session: Session) -> Source:
        """Return what a bundle reads an input by."""
        if (desk := self._serving.source(stream.wanted)) is not None:
            return desk
        if stream.inlet is None:
            stream.inlet = open_inlet(stream.wanted, self._clock, self._tell(stream.wanted), state=self._state)
        return stream.inlet.fitted(session.manifest)

    def _start(self, stream: Stream, model: Model, session: Session, installed: Installed, source: Source) -> None:
        origin = Origin(model.name, installed.release_seq, installed.bundle, stream.wanted.name)
        if stream.loop is None:
            stream.loop = self._open(stream.wanted, model, source)
        stream.loop.runtime = self.settings.runtime
        stream.loop.swap(session, origin, source)
        self._serving.show(stream.wanted, session, origin)
        if stream.worker is None:
            stream.worker = self._work(stream.loop, label(stream.wanted))

    def _open(self, wanted: InputSettings, model: Model, source: Source) -> Loop:
        return Loop(
            source,
            self._recorder,
            self._clock,
            _outcome(model),
            watchers=self._watchers(wanted),
            turn=model.turn,
            summary_interval_s=self.settings.telemetry.summary_interval_s,
            drift=self.settings.drift,
            runtime=self.settings.runtime,
        )

    def _tell_unfit(self, stream: Stream, why: str) -> None:
        name, model, before = label(stream.wanted), stream.wanted.model, stream.unfit
        stream.unfit = why
        if why and why != before:
            _LOG.error("input %s: cannot be opened (%s), tried again", name, why)
            self._recorder.event("input-failed", {"input": name, "detail": why[:500]}, model=model)
        elif before and not why:
            _LOG.info("input %s: is open now", name)
            self._recorder.event("input-back", {"input": name}, model=model)

    def _tell(self, wanted: InputSettings) -> Tell:
        """Return what takes the events of an input's source."""

        def tell(code: str, detail: Mapping[str, object]) -> None:
            said = ", ".join(f"{k} {v}" for k, v in detail.items())
            log_event(_LOG, logging.WARNING, f"input {label(wanted)}: {code}", said)
            told = {"kind": wanted.kind, **({"input": wanted.name} if wanted.name else {}), **detail}
            self._recorder.event(code, told, model=wanted.model)

        return tell


def _outcome(model: Model) -> Outcome:
    """Return what keeps how each prediction went, until the main thread takes it."""

    def outcome(bundle: str, ok: bool, latency_us: int) -> None:
        model.outcomes.append((bundle, ok, latency_us))

    return outcome

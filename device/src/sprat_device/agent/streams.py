"""The streams: one thread per input, each answering with what the slot of its model holds.

Loading is done by the main thread while the old bundle goes on answering; a stream takes the new one up between two
readings. Inputs of one model share one session and take turns with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sprat_device.agent.stream import Feeds, Model, Stream, label
from sprat_device.agent.workers import LoopThread, Worker
from sprat_device.board.clock import Clock
from sprat_device.board.settings import DeviceSettings, InputSettings
from sprat_device.contract.errors import BundleRefused, MachineLacks, SpratError, WrongUse
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import Origin
from sprat_device.contract.twin import Installed
from sprat_device.inference.loop import Loop
from sprat_device.inference.serve import OnDemand
from sprat_device.inference.session import Session
from sprat_device.inference.sinks import Outlets
from sprat_device.inference.sources.reading import Source
from sprat_device.inference.telling import Outcome, Watcher
from sprat_device.install.installer import Installer
from sprat_device.telemetry.recorder import Recorder

_LOG: Final = logging.getLogger("sprat.agent")
_OUTLETS_END_S: Final = 0.5
_INPUT_ENDS_S: Final = 1.0
_AGAIN_S: Final = 10.0
"""Between two tries of the inputs that do not fit."""


class Streams:
    """All inputs of one device."""

    def __init__(
        self,
        state: Path,
        settings: DeviceSettings,
        clock: Clock,
        recorder: Recorder,
        installer: Installer,
        *,
        watchers: Callable[[InputSettings], Sequence[Watcher]] = lambda _wanted: (),
        work: Callable[[Loop, str], Worker] = LoopThread,
        runtimes: Mapping[str, str] | None = None,
    ) -> None:
        """Wire; `runtimes` are those to choose from, by default all that are installed."""
        self._state = state
        self._settings = settings
        self._clock = clock
        self._recorder = recorder
        self._installer = installer
        self._watchers = watchers
        self._work = work
        self._runtimes = runtimes
        self._outlets = Outlets(settings.outputs, recorder.event)
        self._serving = OnDemand(settings.serve, settings.inputs, clock, recorder.event)
        self._feeds = Feeds(state, clock, recorder, self._serving)
        self._try_s = 0.0
        self._models = {name: self._model(name) for name in dict.fromkeys(entry.model for entry in settings.inputs)}

    @property
    def models(self) -> frozenset[str]:
        """Return the models that some input feeds."""
        return frozenset(self._models)

    @property
    def runtimes(self) -> dict[str, str]:
        """Return the runtime of each model that answers."""
        return {name: model.runtime for name, model in self._models.items() if model.runtime and model.is_fed}

    @property
    def unfit(self) -> dict[str, str]:
        """Return the inputs that cannot be read for the bundle of their model, and why."""
        every = (stream for model in self._models.values() for stream in model.streams)
        return {label(stream.wanted): stream.unfit for stream in every if stream.unfit}

    def counts(self, model: str) -> tuple[str, int, int]:
        """Return what answers for a model: its bundle's digest, and healthy predictions and errors since it was loaded."""
        loops = [stream.loop for stream in self._streams(model) if stream.loop is not None]
        running = {loop.running for loop in loops}
        # While the inputs of a model change over one after the other, none of the two bundles is the running one.
        digest = running.pop() if len(running) == 1 else ""
        return digest, sum(loop.healthy for loop in loops), sum(loop.errors for loop in loops)

    def dead(self) -> list[str]:
        """Return the inputs whose thread has ended by itself: a defect, which the log holds."""
        return (
            ["serve"] * (not self._serving.alive)
            + self._outlets.dead()
            + [
                label(stream.wanted)
                for model in self._models.values()
                for stream in model.streams
                if stream.worker is not None and not stream.worker.alive
            ]
        )

    def follow_slots(self) -> None:
        """Let each model answer with what its slot holds."""
        self._serving.keep()
        for model in self._models.values():
            if self._installer.again(model.name):
                model.followed = None
            held = self._installer.active(model.name)
            installed = held[0] if held else None
            if installed == model.followed:
                continue
            tried, model.followed = model.followed, installed
            if tried is not None and model.loaded is not None and model.loaded[1] == installed:
                continue  # it was to be replaced by one that did not load, and has gone on answering
            if held is not None:
                self._load(model, held[0], held[1])
            else:
                self._unload(model)
        self._try_unfit()

    def pass_outcomes(self) -> None:
        """Tell the installer how the bundles did since the last call."""
        for model in self._models.values():
            while model.outcomes:
                digest, ok, latency_us = model.outcomes.popleft()
                self._installer.observe(model.name, digest, ok, latency_us)

    def beats(self) -> dict[str, int]:
        """Return how far each input's thread has come."""
        return {
            label(stream.wanted): stream.worker.beats
            for model in self._models.values()
            for stream in model.streams
            if stream.worker is not None
        }

    def reconfigure(self, settings: DeviceSettings, *, reopen: bool = False) -> None:
        """Follow changed settings: inputs that are gone or changed end, new ones begin, the others answer on.

        `reopen` ends and opens them all, for what every input rests on.
        """
        everywhere = settings.telemetry.summary_interval_s != self._settings.telemetry.summary_interval_s
        self._settings = settings
        self._serving.feed(settings.serve, settings.inputs)
        for name in self._models.keys() | {entry.model for entry in settings.inputs}:
            model = self._models.setdefault(name, Model(ModelName(name), []))
            wanted = [entry for entry in settings.inputs if entry.model == name]
            kept = [stream for stream in model.streams if stream.wanted in wanted and not reopen]
            self._end([stream for stream in model.streams if stream not in kept], _INPUT_ENDS_S)
            held = [stream.wanted for stream in kept]
            for stream in kept:
                if stream.loop is not None and everywhere:
                    stream.loop.summarise_every(settings.telemetry.summary_interval_s)
            model.streams = kept + [Stream(entry) for entry in wanted if entry not in held]
            if not wanted:
                del self._models[name]
            elif model.loaded is not None:
                self._begin(model)
            else:
                model.followed = None  # what could not be fed before may be now

    def serve(self, settings: DeviceSettings) -> None:
        """Follow changed settings of the server; WrongUse for a token that is no good, and the old one goes on."""
        self._serving.configure(settings.serve)

    def redirect(self, settings: DeviceSettings) -> None:
        """Follow changed outputs; the streams answer on."""
        self._outlets.follow(settings.outputs)

    def reload(self, settings: DeviceSettings) -> None:
        """Load every bundle anew, for changed settings of the runtime; the old sessions answer until then."""
        self._settings = settings
        for model in self._models.values():
            model.followed = None

    def stop(self, timeout_s: float) -> list[str]:
        """End all threads within so long and tell the last counts; return the inputs whose source holds their thread."""
        stuck = self._end([stream for model in self._models.values() for stream in model.streams], timeout_s)
        self._serving.stop()
        self._outlets.close(_OUTLETS_END_S)
        return stuck

    def _end(self, streams: Sequence[Stream], timeout_s: float) -> list[str]:
        until = time.monotonic() + timeout_s
        for stream in streams:
            if stream.worker is not None:
                stream.worker.stop(0)  # all of them first: they end at the same time
        stuck = [label(s.wanted) for s in streams if not s.stop(max(0.0, until - time.monotonic()))]
        for name in stuck:
            _LOG.warning("input %s: its source does not come back, its thread is left behind", name)
        return stuck

    def _model(self, name: str) -> Model:
        streams = [Stream(entry) for entry in self._settings.inputs if entry.model == name]
        return Model(ModelName(name), streams)

    def _streams(self, model: str) -> Iterable[Stream]:
        return self._models[model].streams if model in self._models else ()

    def _load(self, model: Model, installed: Installed, path: Path) -> None:
        """Load a bundle; one that cannot be loaded is told to the installer, which reverts, and the old one goes on."""
        digest, session = installed.bundle, None
        try:
            session = self._opened(path, digest)
            lost = self._swap(model, session, installed)
        # Not only our own errors: whatever a runtime throws at a bad artifact must end in a revert, not in a dead agent.
        except Exception as exc:  # noqa: BLE001
            _LOG.exception("%s: bundle %s cannot be loaded", model.name, digest[:12])
            self._recorder.event("not-loaded", {"bundle": digest, "detail": str(exc)[:500]}, model=model.name)
            if self.counts(model.name)[0] == digest:
                return  # it answers, by the settings before: these are to blame, not the bundle
            unfed = session is not None and isinstance(exc, WrongUse)
            lacks = isinstance(exc, MachineLacks | MemoryError | OSError)
            defect = not lacks and not isinstance(exc, BundleRefused | WrongUse)
            self._installer.not_loaded(model.name, digest, str(exc), unfed=unfed, lacks=lacks, defect=defect)
        else:
            self._installer.loaded(model.name, digest)
            if lost:  # a bundle on trial must not take an input away
                self._installer.not_loaded(model.name, digest, lost, unfed=True)

    def _opened(self, path: Path, digest: str) -> Session:
        """Return the session of a bundle, if its file still is the one that was verified."""
        session = Session.open(
            path, cache=self._state / "artifacts", settings=self._settings.runtime, found=self._runtimes
        )
        if session.bundle_digest != digest:
            raise BundleRefused(Reason.HASH_MISMATCH, f"{path.name} has SHA-256 {session.bundle_digest[:12]}…")
        return session

    def _swap(self, model: Model, session: Session, installed: Installed) -> str:
        """Let every input that fits answer with another bundle; WrongUse where none does.

        Returns why one that answered until now does no longer, empty where all of them go on.
        """
        lost = ""
        before, model.loaded = model.loaded, None  # a defect on the way leaves some with the one, some with the other
        for stream in model.streams:
            answered = stream.worker is not None and not stream.unfit
            if not self._take_up(stream, model, session, installed) and answered:
                lost = lost or stream.unfit
        unfit = [stream.unfit for stream in model.streams if stream.unfit]
        if unfit and len(unfit) == len(model.streams):
            model.loaded = before or (session, installed)  # else the one before answers on, or again
            raise WrongUse(unfit[0])
        model.loaded = session, installed
        self._answers(model, session, installed)
        return lost

    def _begin(self, model: Model) -> None:
        """Let the inputs that are new, or did not fit, answer with the bundle that is loaded."""
        if model.loaded is None:
            return
        session, installed = model.loaded
        waiting = [stream for stream in model.streams if stream.worker is None or stream.unfit]
        begun = [stream for stream in waiting if self._take_up(stream, model, session, installed)]
        if begun and not model.runtime:
            self._answers(model, session, installed)
            self._installer.loaded(model.name, installed.bundle)

    def _try_unfit(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._try_s:
            self._try_s = now_s + _AGAIN_S
            for model in self._models.values():
                if any(stream.unfit for stream in model.streams):
                    self._begin(model)

    def _answers(self, model: Model, session: Session, installed: Installed) -> None:
        model.runtime = session.runtime
        _LOG.info("%s: release %d (%s) answers on %s",
                  model.name, installed.release_seq, installed.bundle[:12], session.runtime)  # fmt: skip

    def _unload(self, model: Model) -> None:
        model.runtime = ""
        model.loaded = None
        for stream in model.streams:
            stream.unfit = ""
            if stream.loop is not None:
                stream.loop.unload()
        self._serving.hide(model.name)
        _LOG.warning("%s: no bundle is left to answer, waiting for an offer", model.name)

    def _take_up(self, stream: Stream, model: Model, session: Session, installed: Installed) -> bool:
        """Let one input answer with a bundle; one that does not fit is told, and keeps none of the others."""
        try:
            model.require_fit(session)
            source = self._feeds.source(stream, session)
        except SpratError as exc:
            self._tell_unfit(stream, str(exc))
            return False
        self._start(stream, model, session, installed, source)
        self._tell_unfit(stream, "")
        return True

    def _tell_unfit(self, stream: Stream, why: str) -> None:
        name, model, before = label(stream.wanted), stream.wanted.model, stream.unfit
        stream.unfit = why
        if why and why != before:
            _LOG.error("input %s: cannot be opened (%s), tried again", name, why)
            self._recorder.event("input-failed", {"input": name, "detail": why[:500]}, model=model)
        elif before and not why:
            _LOG.info("input %s: is open now", name)
            self._recorder.event("input-back", {"input": name}, model=model)

    def _start(self, stream: Stream, model: Model, session: Session, installed: Installed, source: Source) -> None:
        origin = Origin(model.name, installed.release_seq, installed.bundle, stream.wanted.name)
        if stream.loop is None:
            stream.loop = self._open(stream.wanted, model, source)
        stream.loop.runtime = self._settings.runtime
        stream.loop.swap(session, origin, source)
        self._serving.show(stream.wanted, session, origin)
        if stream.worker is None:
            stream.worker = self._work(stream.loop, label(stream.wanted))

    def _open(self, wanted: InputSettings, model: Model, source: Source) -> Loop:
        return Loop(
            source,
            self._recorder,
            self._clock,
            self._outcome(model),
            watchers=(*self._watchers(wanted), self._outlets),
            turn=model.turn,
            summary_interval_s=self._settings.telemetry.summary_interval_s,
            drift=self._settings.drift,
            runtime=self._settings.runtime,
        )

    def _outcome(self, model: Model) -> Outcome:
        def outcome(bundle: str, ok: bool, latency_us: int) -> None:
            model.outcomes.append((bundle, ok, latency_us))

        return outcome

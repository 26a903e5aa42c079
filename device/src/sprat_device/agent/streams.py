"""The streams: one thread per input, each answering with what the slot of its model holds.

Loading is done by the main thread while the old bundle goes on answering; a stream takes the new one up between two
readings. Inputs of one model share one session and take turns with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sprat_device.agent.changeover import Changeover
from sprat_device.agent.inputs import Inputs
from sprat_device.agent.stream import Model, Stream, label
from sprat_device.agent.workers import LoopThread, Worker
from sprat_device.board.clock import Clock
from sprat_device.board.settings import DeviceSettings, InputSettings
from sprat_device.contract.ids import ModelName
from sprat_device.inference.loop import Loop
from sprat_device.inference.serve import OnDemand
from sprat_device.inference.sinks import Outlets
from sprat_device.inference.telling import Watcher
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
        self._installer = installer
        self._outlets = Outlets(settings.outputs, recorder.event)
        self._serving = OnDemand(settings.serve, settings.inputs, clock, recorder.event)
        self._inputs = Inputs(
            state, settings, clock, recorder, self._serving,
            watchers=lambda wanted: (*watchers(wanted), self._outlets), work=work,
        )  # fmt: skip
        self._changeover = Changeover(state, self._inputs, self._serving, recorder, installer, runtimes=runtimes)
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
        return self._models[model].counts() if model in self._models else ("", 0, 0)

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
                self._changeover.load(model, held[0], held[1])
            else:
                self._changeover.unload(model)
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
        everywhere = settings.telemetry.summary_interval_s != self._inputs.settings.telemetry.summary_interval_s
        self._inputs.settings = settings
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
                self._changeover.begin(model)
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
        self._inputs.settings = settings
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
        streams = [Stream(entry) for entry in self._inputs.settings.inputs if entry.model == name]
        return Model(ModelName(name), streams)

    def _try_unfit(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._try_s:
            self._try_s = now_s + _AGAIN_S
            for model in self._models.values():
                if any(stream.unfit for stream in model.streams):
                    self._changeover.begin(model)

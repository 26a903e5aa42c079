"""One input of a device with the loop that answers it, and one model with all of its inputs."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sprat_device.agent.workers import Worker
from sprat_device.board.clock import Clock
from sprat_device.board.logs import log_event
from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import State
from sprat_device.contract.twin import Installed
from sprat_device.inference.loop import Loop
from sprat_device.inference.serve import OnDemand
from sprat_device.inference.session import Session
from sprat_device.inference.sources import Inlet, open_inlet
from sprat_device.inference.sources.item import Tell
from sprat_device.inference.sources.reading import Source
from sprat_device.telemetry.recorder import Recorder

_LOG: Final = logging.getLogger("sprat.agent")
_MOST_OUTCOMES: Final = 4096
"""Between two looks of the main thread; a trial needs a few dozen."""


@dataclass(slots=True)
class Stream:
    """One input: its settings, and the loop that exists once a bundle for its model has been loaded."""

    wanted: InputSettings
    inlet: Inlet | None = None
    """How it is read; None for one that is served."""
    loop: Loop | None = None
    worker: Worker | None = None
    unfit: str = ""
    """Why it cannot be read for the bundle that shall answer; empty where it is, and before it was tried."""

    def stop(self, timeout_s: float) -> bool:
        """End the thread, then tell the last counts; False if its source holds it longer than that."""
        if self.worker is not None and not self.worker.stop(timeout_s):
            return False
        if self.loop is not None:
            self.loop.close()
        return True


@dataclass(slots=True)
class Model:
    """One model with its streams."""

    name: ModelName
    streams: list[Stream]
    followed: Installed | None = None
    """What the slot held when it was last looked at: loaded, or tried in vain. It is not tried again."""
    runtime: str = ""
    """Of what answers; empty where nothing does."""
    turn: AbstractContextManager[object] = field(default_factory=threading.Lock)
    loaded: tuple[Session, Installed] | None = None
    """What its inputs shall answer with."""
    outcomes: deque[tuple[str, bool, int]] = field(default_factory=lambda: deque(maxlen=_MOST_OUTCOMES))

    @property
    def answers(self) -> Installed | None:
        """Return what answers, None where nothing does."""
        return self.loaded[1] if self.loaded is not None and self.runtime else None

    @property
    def is_fed(self) -> bool:
        """Tell whether one of its inputs can be read."""
        return any(not stream.unfit for stream in self.streams)

    def require_fit(self, session: Session) -> None:
        """Raise WrongUse for several inputs of a bundle that takes one."""
        if session.manifest.state is State.KEPT and len(self.streams) > 1:
            raise WrongUse(f"{self.name}: answers depend on what came before, so it takes one input, not several")


class Feeds:
    """Opens what inputs are read by, and tells the events of their sources."""

    def __init__(self, state: Path, clock: Clock, recorder: Recorder, serving: OnDemand) -> None:
        self._state = state
        self._clock = clock
        self._recorder = recorder
        self._serving = serving

    def source(self, stream: Stream, session: Session) -> Source:
        """Return what a bundle reads an input by."""
        if (desk := self._serving.source(stream.wanted)) is not None:
            return desk
        if stream.inlet is None:
            stream.inlet = open_inlet(stream.wanted, self._clock, self._tell(stream.wanted), state=self._state)
        return stream.inlet.fitted(session.manifest)

    def _tell(self, wanted: InputSettings) -> Tell:
        """Return what takes the events of an input's source."""

        def tell(code: str, detail: Mapping[str, object]) -> None:
            said = ", ".join(f"{k} {v}" for k, v in detail.items())
            log_event(_LOG, logging.WARNING, f"input {label(wanted)}: {code}", said)
            told = {"kind": wanted.kind, **({"input": wanted.name} if wanted.name else {}), **detail}
            self._recorder.event(code, told, model=wanted.model)

        return tell


def label(wanted: InputSettings) -> str:
    """Return what people and the hub call an input: its model, and its name where it has one."""
    return f"{wanted.model}/{wanted.name}" if wanted.name else wanted.model

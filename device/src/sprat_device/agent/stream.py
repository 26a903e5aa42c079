"""One input of a device with the loop that answers it, and one model with all of its inputs."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from sprat_device.agent.workers import Worker
from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import State
from sprat_device.contract.twin import Installed
from sprat_device.inference.loop import Loop
from sprat_device.inference.session import Session
from sprat_device.inference.sources import Inlet

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

    def counts(self) -> tuple[str, int, int]:
        """Return what answers: its bundle's digest, and healthy predictions and errors since it was loaded."""
        loops = [stream.loop for stream in self.streams if stream.loop is not None]
        running = {loop.running for loop in loops}
        # While the inputs change over one after the other, none of the two bundles is the running one.
        digest = running.pop() if len(running) == 1 else ""
        return digest, sum(loop.healthy for loop in loops), sum(loop.errors for loop in loops)

    def require_fit(self, session: Session) -> None:
        """Raise WrongUse for several inputs of a bundle that takes one."""
        if session.manifest.state is State.KEPT and len(self.streams) > 1:
            raise WrongUse(f"{self.name}: answers depend on what came before, so it takes one input, not several")


def label(wanted: InputSettings) -> str:
    """Return what people and the hub call an input: its model, and its name where it has one."""
    return f"{wanted.model}/{wanted.name}" if wanted.name else wanted.model

"""One input of a device: its settings, what it is read by, and the loop that answers it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat_device.agent.workers import Worker
from sprat_device.board.clock import Clock
from sprat_device.board.logs import log_event
from sprat_device.board.settings import InputSettings
from sprat_device.inference.loop import Loop
from sprat_device.inference.serve import OnDemand
from sprat_device.inference.session import Session
from sprat_device.inference.sources import Inlet, open_inlet
from sprat_device.inference.sources.item import Tell
from sprat_device.inference.sources.reading import Source
from sprat_device.telemetry.recorder import Recorder

_LOG: Final = logging.getLogger("sprat.agent")


@dataclass(slots=True)
class Stream:
    """One input: its settings, and the loop that exists once a bundle for its model has been loaded."""

    wanted: InputSettings
    inlet: Inlet | None = None
    """How it is read; None for one that is served."""
    loop: Loop | None = None
    worker: Worker | None = None

    def stop(self, timeout_s: float) -> bool:
        """End the thread, then tell the last counts; False if its source holds it longer than that."""
        if self.worker is not None and not self.worker.stop(timeout_s):
            return False
        if self.loop is not None:
            self.loop.close()
        return True


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

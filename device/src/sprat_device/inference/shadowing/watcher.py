"""The shadows of a device by model, and the watcher that each input has for the shadow of its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sprat_device.contract.ids import ModelName
from sprat_device.contract.records import Origin, Prediction
from sprat_device.contract.twin import Installed
from sprat_device.inference.session import Session
from sprat_device.inference.shadowing.shadow import Ports, Shadow, Standing
from sprat_device.inference.sources.reading import Reading

Begin = Callable[[ModelName, Installed, Path, Ports], Shadow]


class Shadows:
    """At most one shadow for each model; begun and ended by the main thread."""

    def __init__(self, ports: Ports, *, begin: Begin = Shadow) -> None:
        self._ports = ports
        self._begin = begin
        self._running: dict[str, Shadow] = {}

    def follow(self, model: ModelName, wanted: tuple[Installed, Path] | None) -> None:
        """Let this bundle be the shadow of a model, or none."""
        running = self._running.get(model)
        if running is not None and (wanted is None or running.installed != wanted[0]):
            del self._running[model]
            running.stop()
            running = None
        if wanted is not None and running is None and self._ports.settings.enabled:
            self._running[model] = self._begin(model, wanted[0], wanted[1], self._ports)

    def configure(self, ports: Ports) -> None:
        """Follow changed settings: what runs is ended, and begun anew with the next look at the slots."""
        self.stop()
        self._ports = ports

    def watcher(self, model: str) -> ShadowWatcher:
        """Return the watcher of one input of a model."""
        return ShadowWatcher(self._running, model)

    def standing(self, model: str) -> Standing | None:
        """Return how the shadow of a model does, None where there is none."""
        running = self._running.get(model)
        return None if running is None else running.standing

    def stop(self) -> None:
        """End them all."""
        while self._running:
            self._running.popitem()[1].stop()


class ShadowWatcher:
    """Sees every prediction of one input."""

    def __init__(self, running: dict[str, Shadow], model: str) -> None:
        self._running = running
        self._model = model

    def answered(self, session: Session, origin: Origin, reading: Reading, prediction: Prediction) -> None:
        """Show a reading to the shadow, if there is one; it never waits and never raises."""
        shadow = self._running.get(self._model)
        if shadow is not None:
            shadow.gate.see(session, origin, reading, prediction)

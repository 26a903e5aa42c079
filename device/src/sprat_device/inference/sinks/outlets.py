"""All outputs of a device: what the loops tell of a prediction, and the kinds by name."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from sprat_device.board.settings import OutputSettings
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.session import Session
from sprat_device.inference.sinks.outlet import Outlet, Sink
from sprat_device.inference.sources.item import Tell
from sprat_device.inference.sources.reading import Reading


class Outlets:
    """A watcher of every loop; without outputs it does nothing. `follow` may change them while the loops run."""

    def __init__(self, settings: Sequence[OutputSettings], event: Tell) -> None:
        self._event = event
        self._running: tuple[tuple[OutputSettings, Outlet], ...] = ()
        self.follow(settings)

    def answered(
        self,
        session: Session,
        origin: Origin,
        reading: Reading,  # noqa: ARG002 - the port's
        prediction: Prediction,
    ) -> None:
        """Tell one prediction to whom it may concern."""
        for _settings, outlet in self._running:
            outlet.answered(session, origin, prediction)

    def follow(self, settings: Sequence[OutputSettings], *, within_s: float = 1.0) -> None:
        """Begin outputs that are new, end those that are gone, and leave the others alone."""
        left = list(self._running)
        running: list[tuple[OutputSettings, Outlet]] = []
        for wanted in settings:
            same = next((entry for entry in left if entry[0] == wanted), None)
            if same is None:
                running.append((wanted, Outlet(wanted, partial(KINDS[wanted.kind], wanted), self._event)))
            else:
                left.remove(same)
                running.append(same)
        self._running = tuple(running)
        until_s = time.monotonic() + within_s
        for _settings, outlet in left:
            outlet.close(max(0.0, until_s - time.monotonic()))

    def dead(self) -> list[str]:
        """Return the outputs whose thread has ended by itself: a defect, which the log holds."""
        return [f"output {entry.name or entry.kind}" for entry, outlet in self._running if not outlet.alive]

    def close(self, within_s: float = 1.0) -> None:
        """Give what waits, for so long."""
        self.follow((), within_s=within_s)


def _stdout(_settings: OutputSettings) -> Sink:
    from sprat_device.inference.sinks.writing import Stream  # noqa: PLC0415

    return Stream(sys.stdout.fileno())


def _file(settings: OutputSettings) -> Sink:
    from sprat_device.inference.sinks.writing import Rotated  # noqa: PLC0415

    return Rotated(Path(settings.path), max_bytes=settings.max_bytes, keep=settings.keep)


def _mqtt(settings: OutputSettings) -> Sink:
    from sprat_device.inference.sinks.mqtt import Topic  # noqa: PLC0415

    return Topic(settings)


def _webhook(settings: OutputSettings) -> Sink:
    from sprat_device.inference.sinks.webhook import Webhook  # noqa: PLC0415

    headers = {name: str(value) for name, value in settings.headers.items()}
    return Webhook(settings.url, headers, timeout_s=settings.timeout_s)


def _command(settings: OutputSettings) -> Sink:
    from sprat_device.inference.sinks.command import Hook  # noqa: PLC0415

    return Hook(settings.command, timeout_s=settings.timeout_s)


def _plugin(settings: OutputSettings) -> Sink:
    from sprat_device.inference.sinks.plugin import Plugin  # noqa: PLC0415

    return Plugin(settings.plugin, settings.options)


KINDS: Final[Mapping[str, Callable[[OutputSettings], Sink]]] = {
    "stdout": _stdout,
    "file": _file,
    "mqtt": _mqtt,
    "webhook": _webhook,
    "command": _command,
    "plugin": _plugin,
}

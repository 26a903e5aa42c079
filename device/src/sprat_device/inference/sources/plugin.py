"""A source of somebody else: a Python package with an entry point in the group `sprat.sources`.

It reads in a thread of its own, so one that hangs keeps neither the loop nor the agent's end waiting. Whatever it raises
breaks the feed: an event, and a new one after a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

from sprat_device.board.clock import Clock
from sprat_device.contract.errors import MachineLacks, did_you_mean
from sprat_device.inference.sources.item import Item
from sprat_device.inference.sources.waiting import Waiting

GROUP: Final = "sprat.sources"
_READ_S: Final = 0.25
_CLOSE_S: Final = 1.0


class PluginSource(Protocol):
    """What a plug-in's factory returns."""

    def read(self, timeout_s: float) -> Any:
        """Wait up to so long; None, or values: a mapping by input or field, or those of an only input."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


Factory = Callable[[Mapping[str, Any]], PluginSource]
"""Takes the `options` of the settings."""


def found(group: str, name: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return a plug-in's factory by its entry point, or MachineLacks."""
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        has = ", ".join(sorted(points)) or "none"
        raise MachineLacks(
            f"plug-in {name!r}: no installed package has such an entry point in the group {group} (found: {has})"
            f"{did_you_mean(name, points)}"
        )
    factory: Callable[[Mapping[str, Any]], Any] = points[name].load()
    return factory


class Plugin:
    """A plug-in as a feed."""

    def __init__(
        self, name: str, load: Callable[[], Factory], options: Mapping[str, Any], clock: Clock, *, most: int
    ) -> None:
        self._name = name
        self._load = load
        self._options = options
        self._clock = clock
        self._waiting = Waiting(most)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source {name}", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> Item | None:
        """Return the next values; OSError once it has failed."""
        return self._waiting.take(timeout_s)

    def close(self) -> None:
        """Ask it to end; one that does not within a second is left behind."""
        self._closing.set()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        # Not only OSError, and not only Exception: whatever a plug-in raises, a cancelled task too, is its end and told.
        try:
            source = self._load()(self._options)
            try:
                while not self._closing.is_set():
                    values = source.read(_READ_S)
                    if values is not None:
                        self._waiting.put(Item(self._clock.monotonic_us(), self._clock.wall_us(), values=values))
            finally:
                source.close()
        except BaseException as exc:  # noqa: BLE001
            self._waiting.gone(f"plug-in {self._name}: {type(exc).__name__}: {exc}")

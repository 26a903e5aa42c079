"""A sink of somebody else: a Python package with an entry point in the group `sprat.sinks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from sprat_device.inference.sinks.told import Told
from sprat_device.inference.sources.plugin import found

GROUP: Final = "sprat.sinks"


class PluginSink(Protocol):
    """What a plug-in's factory, given the `options` of the settings, returns."""

    def give(self, document: Mapping[str, Any]) -> None:
        """Take one prediction as plain values; whatever is raised breaks the sink, and a new one is made."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class Plugin:
    """A plug-in as a sink; whatever it raises, a cancelled task too, is trouble that may pass, never the agent's end."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        """Make it; OSError where it cannot be made."""
        self._name = name
        try:
            self._sink: PluginSink = found(GROUP, name)(options)
        except BaseException as exc:
            raise self._trouble(exc) from exc

    def give(self, told: Told) -> None:
        """Hand over one prediction."""
        try:
            self._sink.give(told.document)
        except BaseException as exc:
            raise self._trouble(exc) from exc

    def close(self) -> None:
        """Close it."""
        try:
            self._sink.close()
        except BaseException as exc:
            raise self._trouble(exc) from exc

    def _trouble(self, exc: BaseException) -> OSError:
        return OSError(f"plug-in {self._name}: {type(exc).__name__}: {exc}")

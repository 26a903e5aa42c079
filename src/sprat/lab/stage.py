"""The stage of the story: where its parts stand, and the figures that are seen there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sprat.lab.parts import RATE_HZ, LabDevice, LabHub
from sprat.lab.shell import Shell


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, beside what it should be."""

    chapter: str
    what: str
    value: str
    expected: str
    ok: bool


class Reporter(Protocol):
    """Who is told how the story goes."""

    def chapter(self, title: str) -> None:
        """Begin a chapter."""

    def say(self, line: str) -> None:
        """Tell what is done right now."""

    def figure(self, figure: Figure) -> None:
        """Show a figure."""


@dataclass(slots=True)
class Stage:
    """What the chapters share."""

    folder: Path
    models: Path
    device_python: Path | None
    console_port: int
    shell: Shell
    reporter: Reporter
    names: tuple[str, ...] = ("shoal-1", "shoal-2", "shoal-3")
    rate_hz: float = RATE_HZ
    """Inputs a second of each device; 0 is as fast as they come."""
    hub: LabHub | None = None
    devices: list[LabDevice] = field(default_factory=list)
    builds: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    chapter: str = ""

    def say(self, line: str) -> None:
        """Tell what is done right now."""
        self.reporter.say(line)

    def show(self, what: str, value: object, *, expected: object) -> None:
        """Record a figure that must equal what is expected."""
        self._record(Figure(self.chapter, what, str(value), str(expected), value == expected))

    def show_that(self, what: str, value: object, *, expected: str, ok: bool) -> None:
        """Record a figure with a condition of its own."""
        self._record(Figure(self.chapter, what, str(value), expected, ok))

    def fleet(self) -> LabHub:
        """Return the hub, which an earlier chapter has started."""
        if self.hub is None:
            raise RuntimeError("no chapter has started the hub")
        return self.hub

    def clear(self) -> None:
        """End every process that stands here."""
        for device in self.devices:
            device.stop()
        if self.hub is not None:
            self.hub.stop()

    def _record(self, figure: Figure) -> None:
        self.figures.append(figure)
        self.reporter.figure(figure)

"""Whom a loop tells: the recorder, those who watch, and who judges a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading


class Recorder(Protocol):
    """Where records go; none of its methods waits."""

    def prediction(self, origin: Origin, prediction: Prediction, *, scores: bool, unusual: bool) -> None:
        """Take one prediction; `unusual` says that it found an anomaly."""
        ...

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Take one event."""
        ...

    def summary(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Take one summary."""
        ...


class Watcher(Protocol):
    """Sees every prediction, in the loop's thread and after it was recorded; it never waits and never raises."""

    def answered(self, session: Session, origin: Origin, reading: Reading, prediction: Prediction) -> None:
        """Take note of one prediction and the reading that it answers."""
        ...


Outcome = Callable[[str, bool, int], None]
"""Told by bundle digest whether it answered, and in how many microseconds."""

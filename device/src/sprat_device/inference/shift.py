"""Tells on the device itself that what it sees or answers is no longer spread as the bundle's baseline is.

The counts of each summary are added up until enough readings are seen, then compared once: a drift is told when a
feature begins to shift, and its end when none does any more. A device without a link can act on that event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from sprat_device.board.settings.drift import DriftSettings
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.sketch import ks, psi, psi_noise
from sprat_device.contract.summary import Summary

CLASSES: Final = "classes"
"""The name of the predicted classes among the features."""
_TOLD: Final = 8
"""Features named in one event, the most shifted first."""
_ENDED: Final = 0.5
"""Share of the limit below which a shift has ended: one that hovers at the limit is told once."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event: a shift began for some features, or the last one ended."""

    code: str
    detail: Mapping[str, object]


class Shift:
    """Compares one bundle's counts with its baseline."""

    def __init__(self, baseline: Baseline, settings: DriftSettings) -> None:
        self._settings = settings
        self._reference = baseline.all_counts
        if baseline.class_counts.size > 1:
            self._reference[CLASSES] = baseline.class_counts
        self._shifted: frozenset[str] = frozenset()
        self._begin()

    def add(self, summary: Summary) -> Told | None:
        """Add what a summary tells; return an event if that makes one."""
        if not self._settings.readings:
            return None
        self._readings += summary.predictions
        for name, counts in summary.drift.items():
            if name in self._counts:
                self._counts[name] += np.asarray(counts, np.int64)
        for label, times in summary.classes.items():
            if label < len(self._counts.get(CLASSES, ())):
                self._counts[CLASSES][label] += times
        return self._judge() if self._readings >= self._settings.readings else None

    def _begin(self) -> None:
        self._readings = 0
        self._counts = {name: np.zeros(counts.shape, np.int64) for name, counts in self._reference.items()}

    def _judge(self) -> Told | None:
        found = {name: psi(self._reference[name], counts) for name, counts in self._counts.items() if counts.sum()}
        before = self._shifted
        self._shifted = frozenset(
            name for name, value in found.items() if value > self._limit(name) * (_ENDED if name in before else 1)
        )
        told = None
        if self._shifted - before:
            worst = sorted(self._shifted, key=lambda name: (-found[name], name))[:_TOLD]
            told = Told("drift", {
                "features": {name: self._figures(name, found[name]) for name in worst},
                "shifted": len(self._shifted), "compared": len(found), "readings": self._readings,
            })  # fmt: skip
        elif before and not self._shifted:
            told = Told("drift-ended", {"compared": len(found), "readings": self._readings})
        self._begin()
        return told

    def _limit(self, name: str) -> float:
        """Return the PSI that counts as a shift: at least what chance alone may give with so few readings."""
        reference, counts = self._reference[name], self._counts[name]
        count = min(self._readings, int(counts.sum()))
        return max(self._settings.psi, psi_noise(len(counts), int(reference.sum()), count))

    def _figures(self, name: str, value: float) -> dict[str, float]:
        return {"psi": round(value, 4), "ks": round(ks(self._reference[name], self._counts[name]), 4)}

"""Which rule, if any, keeps a reading; decided in the loop's thread, so each look costs a microsecond or two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sprat_device.board.settings.capture import CaptureSettings
from sprat_device.contract.capture import Rule
from sprat_device.contract.records import Prediction
from sprat_device.inference.capturing.unusual import Fences
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading


class Kept(NamedTuple):
    """A rule that keeps a reading, and what about it."""

    rule: Rule
    why: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one bundle; `draw` gives a number from 0 to 1 for the lot."""

    settings: CaptureSettings
    fences: Fences
    wanted: frozenset[int]
    """Positions of the labels that somebody asks for."""
    scores: bool
    anomaly: bool
    draw: Callable[[], float]

    @classmethod
    def of(cls, session: Session, settings: CaptureSettings, draw: Callable[[], float]) -> Rules:
        """Make the rules for what answers now."""
        labels = session.manifest.labels
        return cls(
            settings=settings,
            fences=Fences(session.manifest, session.baseline, factor=settings.unusual_factor),
            wanted=frozenset(i for i, label in enumerate(labels) if label in settings.labels),
            scores=session.scores,
            anomaly=session.anomaly,
            draw=draw,
        )

    def choose(self, reading: Reading, prediction: Prediction, allowed: frozenset[Rule]) -> Kept | None:
        """Return the first of the allowed rules that keeps the reading.

        The lot comes first: a reference sample without the odd ones would be none.
        """
        if Rule.RANDOM in allowed and self.draw() < self.settings.random_rate:
            return Kept(Rule.RANDOM)
        if Rule.LABEL in allowed and prediction.label in self.wanted:
            return Kept(Rule.LABEL)
        if Rule.UNUSUAL in allowed and (why := self._unusual(reading, prediction)):
            return Kept(Rule.UNUSUAL, why)
        if Rule.UNCERTAIN in allowed and self.scores and self._uncertain(prediction.outputs):
            return Kept(Rule.UNCERTAIN)
        return None

    def _unusual(self, reading: Reading, prediction: Prediction) -> str:
        if self.anomaly and prediction.label == 1:
            return "score"
        return self.fences.outside(reading.inputs, reading.mono_us)

    def _uncertain(self, scores: npt.NDArray[np.float32]) -> bool:
        if scores.size < 2:
            return False
        if float(scores.max()) < self.settings.uncertain_below:
            return True
        if not self.settings.margin_below:
            return False
        second, first = np.partition(scores, -2)[-2:]
        return float(first - second) < self.settings.margin_below

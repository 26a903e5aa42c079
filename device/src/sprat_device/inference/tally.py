"""What one bundle did since the last summary: counts, sketches and drift, in constant memory."""

from __future__ import annotations

from typing import Final

import numpy as np

from sprat_device.contract.records import NO_LABEL
from sprat_device.contract.sketch import LogHistogram
from sprat_device.contract.summary import MAX_CLASSES, Summary
from sprat_device.inference.answers import Answer
from sprat_device.inference.drift import Drift
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Inputs

_BLOCK: Final = 256


class Tally:
    """Gathers single figures in blocks and sketches a block at once: the hot path only stores numbers."""

    def __init__(self, session: Session, *, since_us: int) -> None:
        self._scores = session.scores
        self._drift = Drift(session.manifest, session.baseline)
        self._latencies = np.zeros(_BLOCK)
        self._confidences = np.zeros(_BLOCK)
        self._filled = 0
        self._begin(since_us)

    def _begin(self, since_us: int) -> None:
        self._since_us = since_us
        self._predictions = 0
        self._errors: dict[str, int] = {}
        self._classes: dict[int, int] = {}
        self._latency = LogHistogram()
        self._confidence = LogHistogram()

    def predicted(self, inputs: Inputs, answer: Answer, latency_us: int) -> None:
        """Count one prediction."""
        self._predictions += 1
        label = answer.label
        if label != NO_LABEL and (label in self._classes or len(self._classes) < MAX_CLASSES):
            self._classes[label] = self._classes.get(label, 0) + 1
        self._latencies[self._filled] = latency_us
        if self._scores:
            # The label is the highest score's position.
            self._confidences[self._filled] = answer.outputs[label]
        self._filled += 1
        if self._filled == _BLOCK:
            self._sketch()
        self._drift.add(inputs)

    def failed(self, reason: str) -> int:
        """Count an input that became no prediction; return how many there were for this reason since the last summary."""
        self._errors[reason] = self._errors.get(reason, 0) + 1
        return self._errors[reason]

    def take(self, now_us: int) -> Summary | None:
        """Return what happened since the last call, None if nothing did, and begin anew."""
        self._sketch()
        drift = self._drift.take()
        summary = None
        if self._predictions or self._errors:
            summary = Summary(
                span_us=now_us - self._since_us,
                predictions=self._predictions,
                errors=self._errors,
                classes=self._classes,
                latency=self._latency,
                confidence=self._confidence,
                drift=drift,
            )
        self._begin(now_us)
        return summary

    def _sketch(self) -> None:
        if not self._filled:
            return
        self._latency.add_many(self._latencies[: self._filled])
        if self._scores:
            self._confidence.add_many(self._confidences[: self._filled])
        self._filled = 0

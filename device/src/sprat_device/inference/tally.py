"""What one bundle did since the last summary: counts, sketches and drift, in constant memory."""

from __future__ import annotations

from collections import Counter

import numpy as np

from sprat_device.board.settings.drift import DriftSettings
from sprat_device.contract.records import NO_LABEL
from sprat_device.contract.sketch import LogHistogram
from sprat_device.contract.summary import MAX_CLASSES, Summary
from sprat_device.inference.answers import Answer, answer_width
from sprat_device.inference.drift import BLOCK, Drift
from sprat_device.inference.session import Session
from sprat_device.inference.shift import Shift
from sprat_device.inference.sources.reading import Inputs


class Tally:
    """Gathers figures in blocks and sketches a block at once: the hot path only stores numbers."""

    def __init__(self, session: Session, *, since_us: int, drift: DriftSettings | None = None) -> None:
        self.shift = Shift(session.baseline, drift or DriftSettings())
        self._scores = session.scores
        self._drift = Drift(session.manifest, session.baseline)
        self._outputs = np.empty((BLOCK, answer_width(session.manifest)), np.float32)
        self._labels: list[int] = []
        self._latencies: list[int] = []
        self._begin(since_us)

    def _begin(self, since_us: int) -> None:
        self._since_us = since_us
        self._predictions = self._cached = 0
        self._errors: dict[str, int] = {}
        self._classes: dict[int, int] = {}
        self._latency = LogHistogram()
        self._confidence = LogHistogram()

    def predicted(self, inputs: Inputs, answer: Answer, latency_us: int, mono_us: int) -> None:
        """Count one prediction, and the reading of that time which it answers."""
        # The outputs are copied while they are at hand: later they would have to be fetched from all over the memory.
        self._outputs[len(self._labels)] = answer.outputs
        self._labels.append(answer.label)
        self._latencies.append(latency_us)
        if len(self._labels) == BLOCK:
            self._sketch()
        self._drift.add(inputs, mono_us, answer.embedding)

    def hit(self) -> None:
        """Count that a prediction was known from an equal input before."""
        self._cached += 1

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
                cached=self._cached,
            )
        self._begin(now_us)
        return summary

    def _sketch(self) -> None:
        if not self._labels:
            return
        rows = self._outputs[: len(self._labels)]
        self._predictions += len(rows)
        for label, times in Counter(self._labels).items():
            if label != NO_LABEL and (label in self._classes or len(self._classes) < MAX_CLASSES):
                self._classes[label] = self._classes.get(label, 0) + times
        self._latency.add_many(np.array(self._latencies))
        if self._scores:
            # The label is the highest score's position.
            self._confidence.add_many(rows[np.arange(len(rows)), self._labels])
        self._drift.add_answers(rows)
        self._labels.clear()
        self._latencies.clear()

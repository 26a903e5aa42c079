"""A prediction as it is told to programs on the site: one plain document, the same for every kind of sink."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat_device.contract.records import NO_LABEL, Origin, Prediction
from sprat_device.inference.session import Session


@dataclass(frozen=True)
class Told:
    """One prediction with what it came from; `scores` says whether all of its outputs are told."""

    origin: Origin
    prediction: Prediction
    label: str
    confidence: float | None
    """The label's probability, None for a model that gives none."""
    scores: bool

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """Return it as plain values; a number that JSON has no word for is null."""
        found, origin = self.prediction, self.origin
        told: dict[str, Any] = {
            "model": origin.model,
            "input": origin.input,
            "release": origin.release_seq,
            "bundle": origin.bundle,
            "index": found.index,
            "time": found.wall_us / 1e6,
            "label": self.label or None,
            "confidence": None if self.confidence is None else round(self.confidence, 6),
            "latency_us": found.latency_us,
        }
        return {**told, "outputs": _plain(found.outputs)} if self.scores else told

    @cached_property
    def line(self) -> bytes:
        """Return it as a line of JSON."""
        return (json.dumps(self.document, ensure_ascii=False, allow_nan=False) + "\n").encode()

    def fill(self, text: str) -> str:
        """Return a text with {model}, {input}, {label}, {confidence} and {index} filled in; other braces stay."""
        document = self.document
        for name in ("model", "input", "label", "confidence", "index"):
            value = document[name]
            text = text.replace(f"{{{name}}}", "" if value is None else str(value))
        return text


def tell(session: Session, origin: Origin, prediction: Prediction, *, scores: bool) -> Told:
    """Return what is told of a prediction."""
    labels, position = session.manifest.labels, prediction.label
    named = labels[position] if 0 <= position < len(labels) else ""
    sure = float(prediction.outputs[position]) if session.scores and position != NO_LABEL else None
    return Told(origin, prediction, named, sure, scores)


def _plain(outputs: npt.NDArray[np.float32]) -> list[float | None]:
    return [round(value, 7) if np.isfinite(value) else None for value in outputs.tolist()]

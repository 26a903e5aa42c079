"""The detail of a summary record (`Row.code == CODE`): what one bundle did on one device since the last summary.

Summaries go out whatever the telemetry detail is, so they may tell of the same predictions as the predictions lane
does: a reader never adds the two. Drift counts lie over the edges that the bundle's baseline froze, one count more than
edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.sketch import LogHistogram

CODE: Final = "inference"
HEALTH_CODE: Final = "health"
"""Summary records of the machine itself; their detail is a flat mapping of numbers and short texts."""
MAX_CLASSES: Final = 10_000
MAX_BINS: Final = 1_000
MAX_COUNT: Final = 2**40
"""Of one interval; sums of millions of them still fit 64 bits."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts and sketches of one interval; confidence is the highest score of each prediction, latency in us."""

    span_us: int
    predictions: int
    errors: Mapping[str, int] = field(default_factory=dict)
    """Reason code -> inputs that became no prediction."""
    classes: Mapping[int, int] = field(default_factory=dict)
    latency: LogHistogram = field(default_factory=LogHistogram)
    confidence: LogHistogram = field(default_factory=LogHistogram)
    drift: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Feature -> counts over the baseline's edges."""
    cached: int = 0
    """Of the predictions: known from an equal input before."""

    def detail(self) -> dict[str, object]:
        """Return the plain mapping that stands in the record."""
        return {
            "span_us": self.span_us,
            "predictions": self.predictions,
            "errors": dict(self.errors),
            "classes": {str(label): times for label, times in sorted(self.classes.items())},
            "latency": self.latency.dump(),
            "confidence": self.confidence.dump(),
            "drift": {feature: list(counts) for feature, counts in self.drift.items()},
            **({"cached": self.cached} if self.cached else {}),
        }


def parse(detail: object) -> Summary:
    """Read the detail of a summary record, or raise ContractError."""
    fields = Fields(detail, "summary")
    return Summary(
        span_us=fields.integer("span_us", default=0),
        predictions=fields.integer("predictions", maximum=MAX_COUNT),
        errors=fields.mapping("errors", _count, default={}),
        classes=_classes(fields.mapping("classes", _count, default={})),
        latency=fields.value("latency", LogHistogram.parse, default=LogHistogram()),
        confidence=fields.value("confidence", LogHistogram.parse, default=LogHistogram()),
        drift=fields.mapping("drift", _counts, default={}),
        cached=fields.integer("cached", default=0, maximum=MAX_COUNT),
    )


def _classes(raw: Mapping[str, int]) -> dict[int, int]:
    if len(raw) > MAX_CLASSES or not all(name.isascii() and name.isdecimal() and len(name) <= 6 for name in raw):
        raise ContractError(f"summary.classes: expected at most {MAX_CLASSES} class positions as keys")
    return {int(name): times for name, times in raw.items()}


def _count(raw: object, where: str) -> int:
    return Fields({where: raw}, "").integer(where, maximum=MAX_COUNT)


def _counts(raw: object, where: str) -> tuple[int, ...]:
    if not isinstance(raw, list | tuple) or not 1 <= len(raw) <= MAX_BINS:
        raise ContractError(f"{where}: expected a list of 1 to {MAX_BINS} counts")
    return tuple(_count(entry, where) for entry in raw)

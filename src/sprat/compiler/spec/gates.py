"""What a candidate must reach: the recipe's numbers, and the closed codes of those that it can miss."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Gates:
    """Limits of the gates; 0 switches an optional one off."""

    max_drop: float = 0.02
    """Upper end of the 95 % interval of the metric's drop; for an error metric as a share of the research error."""
    min_agreement: float = 0.95
    """Share of test rows with the research model's answer."""
    max_recall_drop: float = 0.1
    """Drop of any class's recall."""
    min_metric: float = 0.0
    """The research model's metric must be at least this (for an error metric: at most), and beat the yardstick."""
    min_lead: float = 0.0
    """The research model's metric must lead the linear yardstick's by this; of an error metric, by this share of it."""
    max_latency_us: float = 0.0
    """Upper limit of the p50 latency where it was measured."""


class GateCode(StrEnum):
    """Why a candidate, a model or a build was stopped."""

    CONVERSION_FAILED = "conversion-failed"
    CONVERSION_TIMEOUT = "conversion-timeout"
    CONVERSION_MEMORY = "conversion-memory"
    NOT_RUN = "not-run"
    NON_FINITE = "non-finite"
    PARITY = "parity"
    METRIC_DROP = "metric-drop"
    AGREEMENT = "agreement"
    RECALL_DROP = "recall-drop"
    NOT_SMALLER = "not-smaller"
    NO_OP = "no-op"
    NOT_NEEDED = "not-needed"
    OVER_FLASH = "over-flash"
    OVER_RAM = "over-ram"
    OVER_LATENCY = "over-latency"
    YARDSTICK = "yardstick"
    MIN_METRIC = "min-metric"
    STALE_DATA = "stale-data"
    FEATURE_CHANGED = "feature-changed"
    NOTHING_FITS = "nothing-fits"
    OUTRANKED = "outranked"

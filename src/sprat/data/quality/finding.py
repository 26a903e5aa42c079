"""One observation about the data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What an observation means for a build: look at it, or stop."""

    FINDING = "finding"
    ERROR = "error"


class Code(StrEnum):
    """What was observed."""

    MISSING = "missing"
    OUTLIERS = "outliers"
    CONSTANT = "constant"
    NEAR_CONSTANT = "near-constant"
    DOUBLED = "doubled"
    DUPLICATES = "duplicates"
    CONTRADICTING = "contradicting"
    LEAKAGE = "leakage"
    NEAR_LEAKAGE = "near-leakage"
    DRIFT = "drift"
    CALIBRATION = "calibration"
    ONE_CLASS = "one-class"
    RARE_CLASS = "rare-class"
    LABEL_LEAK = "label-leak"
    LABEL_NOISE = "label-noise"


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation about one column (or `rows`, `labels`): a code and the sentence."""

    column: str
    code: Code
    sentence: str
    severity: Severity = Severity.FINDING

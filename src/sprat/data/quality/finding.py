"""One observation about the data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What an observation means for a build: look at it, or stop."""

    FINDING = "finding"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation about one column (or `rows`, `labels`): a code and the sentence."""

    column: str
    code: str
    sentence: str
    severity: Severity = Severity.FINDING

"""Is the new bundle good enough to keep? Predictions and starts of a trial add up over restarts.

A device that is switched off every evening must be able to confirm; one whose new bundle crashes it must not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sprat_device.contract.phases import Reason

_HEAVY: Final = 3
"""Weighings beyond the limit that end a trial; and no trial is over before there could have been as many."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a trial must show."""

    predictions: int
    starts: int
    max_error_share: float


@dataclass(frozen=True, slots=True)
class Probation:
    """What a trial has shown so far."""

    starts: int = 0
    good: int = 0
    bad: int = 0
    slow: int = 0
    slow_us: int = 0
    """A prediction that takes longer counts as slow; 0 knows no such limit."""
    growth_kib: int = 0
    """The agent may grow by so much after the first prediction; 0 knows no such limit."""
    limit_kib: int = 0
    """What the agent may weigh in this start; 0 until it was weighed with the bundle at work."""
    weighings: int = 0
    heavy: int = 0
    """Weighings beyond the limit, one after the other: memory that is given back was only busy."""

    def started(self) -> Probation:
        """Count one start; what the process weighs is another matter from here on."""
        return replace(self, starts=self.starts + 1, limit_kib=0, heavy=0)

    def observed(self, *, ok: bool, latency_us: int) -> Probation:
        """Count one prediction."""
        slow = self.slow + (ok and 0 < self.slow_us < latency_us)
        return replace(self, good=self.good + ok, bad=self.bad + (not ok), slow=slow)

    def weighed(self, kib: int) -> Probation:
        """Take what the agent weighs; before the first prediction that says nothing of the bundle."""
        if not self.growth_kib or not self.good:
            return self
        limit = self.limit_kib or kib + self.growth_kib
        heavy = self.heavy + 1 if kib > limit else 0
        return replace(self, limit_kib=limit, heavy=heavy, weighings=self.weighings + 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial ends; `reason` is None where the bundle is kept."""

    reason: Reason | None
    detail: str = ""


def judge(probation: Probation, rules: Rules) -> Verdict | None:
    """Return the verdict, or None while the trial goes on."""
    seen = probation.good + probation.bad
    allowed = rules.max_error_share * max(seen, rules.predictions)
    if probation.starts > rules.starts:
        return Verdict(Reason.TOO_MANY_STARTS, f"{probation.starts} starts, {rules.starts} are allowed in a trial")
    if probation.bad > allowed:
        return Verdict(Reason.TOO_MANY_ERRORS, f"{probation.bad} of {seen} predictions failed")
    if probation.heavy >= _HEAVY:
        grown = f"the agent weighs more than {probation.limit_kib} KiB, {probation.growth_kib} more than at the start"
        return Verdict(Reason.TOO_MUCH_MEMORY, grown)
    if seen < rules.predictions or (probation.growth_kib and probation.weighings <= _HEAVY):
        return None
    if probation.slow * 2 > seen:
        return Verdict(
            Reason.TOO_SLOW_INFERENCE, f"{probation.slow} of {seen} predictions took more than {probation.slow_us} us"
        )
    return Verdict(None)

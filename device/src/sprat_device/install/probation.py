"""Is the new bundle good enough to keep? Predictions and starts of a trial add up over restarts.

A device that is switched off every evening must be able to confirm; one whose new bundle crashes it must not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sprat_device.contract.phases import Reason


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

    def started(self) -> Probation:
        """Count one start."""
        return replace(self, starts=self.starts + 1)

    def observed(self, *, ok: bool, latency_us: int) -> Probation:
        """Count one prediction."""
        slow = self.slow + (ok and 0 < self.slow_us < latency_us)
        return replace(self, good=self.good + ok, bad=self.bad + (not ok), slow=slow)


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
    if seen < rules.predictions:
        return None
    if probation.slow * 2 > seen:
        return Verdict(
            Reason.TOO_SLOW_INFERENCE, f"{probation.slow} of {seen} predictions took more than {probation.slow_us} us"
        )
    return Verdict(None)

"""What decides whether a wave goes on: each gate gives its value beside its threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sprat.hub.store.rollout_values import Gates, GateValue, Member, MemberStatus
from sprat_device.contract.sketch import LogHistogram

FAILED_SHARE: Final = "failed-share"
ERROR_SHARE: Final = "error-share"
P95_RATIO: Final = "p95-ratio"
_COUNTED: Final = (MemberStatus.OFFERED, MemberStatus.DONE, MemberStatus.FAILED)
_ENOUGH: Final = 20
"""Fewer predictions than this say nothing of a share or a quantile."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What the hub stored of the devices whose wave has begun: the new bundles, and those that ran before."""

    predictions: int = 0
    errors: int = 0
    latency: LogHistogram = field(default_factory=LogHistogram)
    latency_before: LogHistogram = field(default_factory=LogHistogram)


def evaluate(gates: Gates, members: Iterable[Member], signals: Signals) -> tuple[GateValue, ...]:
    """Measure every gate; a value of None means that there is too little to measure."""
    values = [
        GateValue(FAILED_SHARE, failed_share(members), gates.max_failed_share),
        GateValue(ERROR_SHARE, error_share(signals), gates.max_error_share),
    ]
    if gates.max_p95_ratio > 0:
        values.append(GateValue(P95_RATIO, p95_ratio(signals), gates.max_p95_ratio))
    return tuple(values)


def failed_share(members: Iterable[Member]) -> float | None:
    """Return the share of failed devices among those that were seen; accepted failures are out of the question."""
    counted = [member for member in members if member.status in _COUNTED and not member.accepted]
    if not counted:
        return None
    return sum(member.status is MemberStatus.FAILED for member in counted) / len(counted)


def error_share(signals: Signals) -> float | None:
    """Return the share of inputs of the new bundles that became no prediction."""
    inputs = signals.predictions + signals.errors
    return signals.errors / inputs if inputs >= _ENOUGH else None


def p95_ratio(signals: Signals) -> float | None:
    """Return how much slower the new bundles are, at the 95th percentile, than those before on the same devices."""
    if min(signals.latency.count, signals.latency_before.count) < _ENOUGH:
        return None
    now, before = signals.latency.quantile(0.95), signals.latency_before.quantile(0.95)
    return now / before if now is not None and before else None

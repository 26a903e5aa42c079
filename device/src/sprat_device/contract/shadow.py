"""The detail of a shadow summary (`Row.code == CODE`, lane summaries): two bundles on the very same readings.

The record's bundle is the one that answered; `shadow` is the digest of the one that did not. Counts, sums and sketches
add, so the records of many intervals and devices are summed to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.ids import digest
from sprat_device.contract.sketch import LogHistogram
from sprat_device.contract.summary import MAX_COUNT

CODE: Final = "shadow"
MAX_REASONS: Final = 100
_MAX_SUM: Final = 2**53
_MAX_DISTANCE: Final = 1e300
_SUMMED: Final = ("span_us", "readings", "compared", "agreed", "labelled", "distances", "cpu_us", "starts")


@dataclass(frozen=True, slots=True)
class ShadowSummary:
    """What one interval showed; latencies in us, distances in the unit of the scores or values."""

    span_us: int
    shadow: str
    shadow_release_seq: int
    readings: int = 0
    """Answered by the active bundle while this shadow stood beside it."""
    compared: int = 0
    """Of those, answered by both."""
    agreed: int = 0
    """Of those compared, with the same label; of values without a label none can agree."""
    labelled: int = 0
    """Of those compared, with a label from both."""
    distances: int = 0
    """Of those compared, with scores or values that lie side by side."""
    distance_sum: float = 0.0
    """Over `distances`, of the mean absolute difference between the entries of both."""
    distance_max: float = 0.0
    """The largest absolute difference of one entry."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Reason code -> readings that the active bundle answered and the shadow did not."""
    latency: LogHistogram = field(default_factory=LogHistogram)
    """Of the active bundle, on the readings compared."""
    shadow_latency: LogHistogram = field(default_factory=LogHistogram)
    cpu_us: int = 0
    """Processor time that the shadow took, with what was done for it in the agent."""
    rss_kib: int = 0
    """The most memory of its process."""
    starts: int = 0
    """How often its process was begun."""

    def plus(self, other: ShadowSummary) -> ShadowSummary:
        """Return the sum of two intervals of the same pair of bundles; sums end where JSON's whole numbers do."""
        latency, beside = LogHistogram(dict(self.latency.counts)), LogHistogram(dict(self.shadow_latency.counts))
        latency.merge(other.latency)
        beside.merge(other.shadow_latency)
        reasons = list(dict.fromkeys([*self.errors, *other.errors]))[:MAX_REASONS]
        return replace(
            self,
            **{name: min(_MAX_SUM, getattr(self, name) + getattr(other, name)) for name in _SUMMED},
            shadow_release_seq=max(self.shadow_release_seq, other.shadow_release_seq),
            distance_sum=min(_MAX_DISTANCE, self.distance_sum + other.distance_sum),
            distance_max=max(self.distance_max, other.distance_max),
            rss_kib=max(self.rss_kib, other.rss_kib),
            errors={name: min(_MAX_SUM, self.errors.get(name, 0) + other.errors.get(name, 0)) for name in reasons},
            latency=latency,
            shadow_latency=beside,
        )

    def detail(self) -> dict[str, object]:
        """Return the plain mapping that stands in the record."""
        plain: dict[str, object] = {
            name: getattr(self, name) for name in type(self).__slots__ if name not in ("latency", "shadow_latency")
        }
        return {
            **plain,
            "errors": dict(self.errors),
            "latency": self.latency.dump(),
            "shadow_latency": self.shadow_latency.dump(),
        }


def parse(detail: object, *, most: int = MAX_COUNT) -> ShadowSummary:
    """Read the detail of a shadow summary, or raise ContractError; no count may be higher than `most`."""
    fields = Fields(detail, "shadow")
    found = ShadowSummary(
        span_us=fields.integer("span_us", default=0),
        shadow=fields.value("shadow", digest),
        shadow_release_seq=fields.integer("shadow_release_seq"),
        **{
            name: fields.integer(name, maximum=most, default=0)
            for name in ("readings", "compared", "agreed", "labelled", "distances", "cpu_us", "rss_kib", "starts")
        },
        distance_sum=fields.number("distance_sum", default=0.0),
        distance_max=fields.number("distance_max", default=0.0),
        errors=fields.mapping("errors", lambda raw, where: _count(raw, where, most), default={}),
        latency=fields.value("latency", LogHistogram.parse, default=LogHistogram()),
        shadow_latency=fields.value("shadow_latency", LogHistogram.parse, default=LogHistogram()),
    )
    if not found.agreed <= found.labelled <= found.compared or found.distances > found.compared:
        raise ContractError(
            f"shadow: {found.agreed} agreed of {found.labelled} labelled of {found.compared} compared: each is part of the next"
        )
    if len(found.errors) > MAX_REASONS:
        raise ContractError(f"shadow.errors: {len(found.errors)} reasons, at most {MAX_REASONS} are allowed")
    return found


def _count(raw: object, where: str, most: int) -> int:
    return Fields({where: raw}, "").integer(where, maximum=most)

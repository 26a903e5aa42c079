"""How many healthy predictions a device has shown since this rollout offered it its bundle.

A device may have run the same bytes before: what it did then proves nothing now (decision 15). Where it had not, its
running sum is the count, to the second. Where it had, the sum so far is taken off, and no more is counted than the hub
holds of minutes that began after the offer, else a backlog of the days before would count.
"""

from __future__ import annotations

from sprat.hub.store.rollout_values import Member, MemberStatus
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_values import MINUTE_US


def healthy(member: Member, ever: int, telemetry: TelemetryStore) -> int:
    """Return the count of a member; `ever` is all that the hub has stored of its device and its bundle."""
    if not member.offered_us:
        return 0
    since = max(0, ever - member.before)
    # Minutes are kept for a while, sums for ever: who is done must not fall back as minutes are cleared away.
    if not (member.before and since) or member.status is MemberStatus.DONE:
        return since
    rows = telemetry.minutes(since_us=counted_from_us(member), devices=[member.device], bundles=[member.bundle])
    return min(since, sum(row.predictions for row in rows))


def counted_from_us(member: Member) -> int:
    """Return the beginning of the first minute that lies wholly behind the offer."""
    return -(-member.offered_us // MINUTE_US) * MINUTE_US

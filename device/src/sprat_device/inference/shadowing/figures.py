"""Adds up what one interval showed of a shadow beside one active bundle."""

from __future__ import annotations

from collections import Counter

from sprat_device.contract.shadow import ShadowSummary
from sprat_device.contract.sketch import LogHistogram
from sprat_device.contract.twin import Installed
from sprat_device.inference.shadowing.compare import Compared


class Figures:
    """Counts, sums and sketches."""

    def __init__(self, shadow: Installed, *, since_us: int) -> None:
        self._shadow = shadow
        self._since_us = since_us
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._distance_sum = 0.0
        self._distance_max = 0.0
        self._latency = LogHistogram()
        self._shadow_latency = LogHistogram()
        self._rss_kib = 0

    def seen(self, readings: int) -> None:
        """Count what the active bundle answered."""
        self._counts["readings"] += readings

    def compare(self, found: Compared, *, latency_us: int, shadow_latency_us: int) -> None:
        """Count a reading that both have answered."""
        self._counts["compared"] += 1
        self._counts["labelled"] += found.same is not None
        self._counts["agreed"] += found.same is True
        if found.mean_distance is not None and found.max_distance is not None:
            self._counts["distances"] += 1
            self._distance_sum += found.mean_distance
            self._distance_max = max(self._distance_max, found.max_distance)
        self._latency.add(latency_us)
        self._shadow_latency.add(shadow_latency_us)

    def failed(self, reason: str) -> None:
        """Count a reading that only the active bundle has answered."""
        self._errors[reason] += 1

    def took(self, cpu_us: int, rss_kib: int) -> None:
        """Add processor time, and note the memory."""
        self._counts["cpu_us"] += cpu_us
        self._rss_kib = max(self._rss_kib, rss_kib)

    def started(self, times: int) -> None:
        """Count starts of its process."""
        self._counts["starts"] += times

    def summary(self, now_us: int) -> ShadowSummary | None:
        """Return what happened, None if nothing did."""
        if not self._counts.total() and not self._errors:
            return None
        counts = self._counts
        return ShadowSummary(
            span_us=now_us - self._since_us,
            shadow=self._shadow.bundle,
            shadow_release_seq=self._shadow.release_seq,
            readings=counts["readings"],
            compared=counts["compared"],
            agreed=counts["agreed"],
            labelled=counts["labelled"],
            distances=counts["distances"],
            distance_sum=self._distance_sum,
            distance_max=self._distance_max,
            errors=dict(self._errors),
            latency=self._latency,
            shadow_latency=self._shadow_latency,
            cpu_us=counts["cpu_us"],
            rss_kib=self._rss_kib,
            starts=counts["starts"],
        )

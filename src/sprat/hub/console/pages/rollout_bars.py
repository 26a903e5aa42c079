"""Rollouts with bars for their waves: the same picture on the fleet page, in the list and on the rollout's own page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sprat.hub.console.charts import Segment
from sprat.hub.console.views import Site
from sprat.hub.queries.rollouts import Progress, RolloutView, WaveView, rollout_view

_KINDS: Final = (
    (Progress.GOOD, "ok", "done"),
    (Progress.WORKING, "wait", "under way"),
    (Progress.FAILED, "bad", "failed"),
)


@dataclass(frozen=True, slots=True)
class Card:
    """One rollout and the bar of each of its waves."""

    view: RolloutView
    bars: tuple[tuple[WaveView, tuple[Segment, ...]], ...]


def card(view: RolloutView) -> Card:
    """Make the bars of one rollout."""
    bars = tuple(
        (wave, tuple(Segment(kind, wave.counts[progress], name) for progress, kind, name in _KINDS))
        for wave in view.waves
    )
    return Card(view, bars)


def cards(site: Site, *, under_way: bool = False) -> tuple[Card, ...]:
    """Return every rollout, or those under way, the newest first."""
    views = (rollout_view(rollout) for rollout in site.services.hub.rollouts.all())
    return tuple(card(view) for view in views if view.under_way or not under_way)

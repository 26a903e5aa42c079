"""The first page: what an operator must know in five seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sprat.hub.console.charts import Segment
from sprat.hub.console.pages import pictures
from sprat.hub.console.pages.rollout_bars import cards
from sprat.hub.console.views import Site, View
from sprat.hub.queries.health import Health
from sprat.hub.queries.overview import overview

_PARTS: Final = (
    "sentence", "freshness", "tiles", "attention", "rollouts", "latency", "drift", "releases", "predictions",
)  # fmt: skip
_KINDS: Final = (
    (Health.HEALTHY, "ok", "Healthy"),
    (Health.DEGRADED, "bad", "Degraded"),
    (Health.SILENT, "bad", "Silent"),
    (Health.DRIFTING, "warn", "Drifting"),
    (Health.WAITING, "wait", "Waiting"),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One state of devices, its count and where its list is."""

    state: str
    name: str
    kind: str
    count: int

    @property
    def segment(self) -> Segment:
        """Return its part of a bar."""
        return Segment(self.kind, self.count, self.name)


@dataclass(frozen=True, slots=True)
class Model:
    """Which releases of one model run, as a bar."""

    name: str
    segments: tuple[pictures.ReleaseSegment, ...]

    @property
    def total(self) -> float:
        """Return how many devices have this model."""
        return sum(segment.value for segment in self.segments)


def view(site: Site) -> View:
    """Return the page with its live parts."""
    return View("fleet", "fleet", _PARTS, lambda: _context(site))


def _context(site: Site) -> Mapping[str, Any]:
    fleet = site.services.board.fleet()
    seen = overview(fleet)
    tiles = [Tile(state, name, kind, seen.counts[state]) for state, kind, name in _KINDS]
    return {
        "overview": seen,
        "tiles": tiles,
        "health_segments": [tile.segment for tile in tiles],
        "stored_us": fleet.signals.stored_us,
        "rollouts": cards(site, under_way=True),
        "latency": pictures.latency_chart(fleet.signals.latency),
        "counts": pictures.count_chart(fleet.signals.latency),
        "drift": pictures.heat(fleet.signals.drift),
        "running": [Model(name, pictures.release_segments(shares)) for name, shares in seen.running],
    }

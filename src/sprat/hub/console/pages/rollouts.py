"""Every rollout with its waves, the newest first."""

from __future__ import annotations

from sprat.hub.console.pages.rollout_bars import cards
from sprat.hub.console.views import Site, View


def view(site: Site) -> View:
    """Return the page with its live parts."""
    return View("rollouts", "rollouts", ("list",), lambda: {"rollouts": cards(site)})

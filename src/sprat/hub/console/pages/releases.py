"""Releases, the newest number of each model first."""

from __future__ import annotations

from sprat.hub.console.views import Site, View
from sprat.hub.queries.releases import releases


def view(site: Site) -> View:
    """Return the page with its live parts."""
    services = site.services
    return View(
        "releases", "releases", ("list",), lambda: {"releases": releases(services.hub.store, services.board.fleet())}
    )

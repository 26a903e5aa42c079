"""The list of devices; search, filter, sort and page stand in the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sprat.hub.console.views import Site, View
from sprat.hub.queries.devices import DeviceQuery, page
from sprat.hub.queries.health import Health

COLUMNS: Final = (
    ("device", "Device", ""),
    ("state", "State", ""),
    ("release", "Runs", ""),
    ("", "Labels", "optional"),
    ("p95", "p95", "num"),
    ("predictions", "Predictions/h", "num optional"),
    ("drift", "Drift", "num"),
    ("seen", "Seen", "num"),
)


def view(site: Site, query: DeviceQuery) -> View:
    """Return the page with its live parts."""
    return View("devices", "devices", ("found", "table"), lambda: _context(site, query))


def _context(site: Site, query: DeviceQuery) -> Mapping[str, Any]:
    return {"list": page(site.services.board.fleet(), query), "columns": COLUMNS, "states": tuple(Health)}

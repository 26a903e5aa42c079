"""One device: its twin, slots, ledger, events, latency and drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sprat.hub.console.pages import pictures
from sprat.hub.console.views import Site, View
from sprat.hub.queries.device import device_view

_PARTS: Final = ("state", "findings", "twin", "slots", "ledger", "latency", "events", "drift", "facts")


def view(site: Site, device: str) -> View:
    """Return the page with its live parts."""
    return View("device", "devices", _PARTS, lambda: _context(site, device))


def _context(site: Site, device: str) -> Mapping[str, Any] | None:
    services = site.services
    row = services.board.fleet().find(device)
    if row is None:
        return None
    found = device_view(row, services.hub.telemetry, services.arrivals, services.hub.now_us())
    return {
        "device": found,
        "latency": pictures.latency_chart(found.latency),
        "drift": pictures.heat(found.drift),
    }

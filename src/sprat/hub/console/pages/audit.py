"""Who did what, and when, the newest first."""

from __future__ import annotations

from typing import Final

from sprat.hub.console.views import Site, View

PAGE: Final = 100


def view(site: Site, before: int = 2**62) -> View:
    """Return the page; it does not change by itself."""

    def context() -> dict[str, object]:
        entries = site.services.hub.store.audit.latest(PAGE, before_seq=before)
        return {"entries": entries, "older": entries[-1].seq if len(entries) == PAGE else 0}

    return View("audit", "audit", (), context)

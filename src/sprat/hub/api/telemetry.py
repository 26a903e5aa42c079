"""What came back from devices: predictions, events, and the ledger that accounts for every record."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from sprat.hub.api.devices import existing
from sprat.hub.api.given import Hub, Viewer

router = APIRouter()
Limit = Annotated[int, Query(ge=1, le=100_000)]


@router.get("/api/telemetry/predictions")
def predictions(
    hub: Hub, _person: Viewer, device: str, *, model: str = "", after: Annotated[int, Query(ge=0)] = 0,
    limit: Limit = 1000,
) -> list[dict[str, Any]]:  # fmt: skip
    """Give stored predictions in the order of arrival; go on with `after`, the `frame` of the last row."""
    return [
        asdict(row)
        for row in hub.telemetry.predictions(existing(hub, device).id, model=model, after=after, limit=limit)
    ]


@router.get("/api/telemetry/ledger")
def ledger(hub: Hub, _person: Viewer, device: str = "") -> list[dict[str, Any]]:
    """Account for every record that devices produced, by device, epoch and lane."""
    return [
        {**asdict(row), "missing": row.missing, "surplus": row.surplus, "balanced": row.balanced}
        for row in hub.telemetry.ledger(device)
    ]


@router.get("/api/telemetry/events")
def events(
    hub: Hub, _person: Viewer, *, device: str = "", code: str = "", source: str = "", limit: Limit = 100
) -> list[dict[str, Any]]:
    """Give events, the newest first."""
    return [asdict(row) for row in hub.telemetry.events(device, code=code, source=source, limit=limit)]

"""The hub itself: what it is, sessions of browsers, people, the audit log, numbers for Prometheus."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from sprat import __version__
from sprat.hub.access import COOKIE, Public, end_session, same_origin, set_session
from sprat.hub.api.given import Admin, Hub, Viewer
from sprat.hub.demo_broker import warning_of
from sprat.hub.errors import NotAllowed
from sprat.hub.store.rows import Role

router = APIRouter()


class LoginForm(BaseModel):
    """Name and password of a person."""

    name: str = Field(max_length=63)
    password: str = Field(max_length=1024)


class NewApiToken(BaseModel):
    """A token for a program."""

    name: str = Field(min_length=1, max_length=63)
    role: Role = Role.VIEWER


@router.get("/api/hub")
def show(hub: Hub, _person: Viewer) -> dict[str, Any]:
    """Tell what this hub is and how its parts do."""
    devices = hub.store.devices.all()
    broker, endpoint = hub.broker, hub.broker.endpoint
    return {
        "name": hub.names[0],
        "version": __version__,
        "incarnation": hub.store.incarnation(),
        "names": list(hub.names),
        "broker": {
            "kind": broker.kind,
            "alive": broker.alive(),
            "warning": warning_of(broker),
            "host": endpoint.host,
            "port": endpoint.port,
        },
        "signing_root": hub.releases.founded,
        "devices": {"all": len(devices), "online": sum(device.online for device in devices)},
    }


@router.post("/api/session", dependencies=[Depends(Public("the way in"))])
def log_in(hub: Hub, form: LoginForm, request: Request, response: Response) -> dict[str, str]:
    """Begin a browser's session; the answer names its CSRF token."""
    if "origin" in request.headers and not same_origin(request):
        raise NotAllowed("origin", "the login comes from another site; use the hub's own page")
    address = request.client.host if request.client else ""
    cookie, person = hub.people.log_in(form.name, form.password, address)
    set_session(response, cookie, secure=request.url.scheme == "https")
    return {"name": person.name, "role": person.role, "csrf": person.csrf}


@router.delete("/api/session", status_code=204)
def log_out(hub: Hub, person: Viewer, request: Request, response: Response) -> None:
    """End the browser's session."""
    del person
    hub.people.log_out(request.cookies.get(COOKIE, ""))
    end_session(response)


@router.post("/api/api-tokens")
def make_api_token(hub: Hub, person: Admin, new: NewApiToken) -> dict[str, str]:
    """Make a token for a program; it is shown this once."""
    return {"token": hub.people.make_token(new.name, new.role, person.name), "name": new.name, "role": new.role}


@router.delete("/api/api-tokens/{name}", status_code=204)
def revoke_api_token(hub: Hub, person: Admin, name: str) -> None:
    """Take every token of that name back."""
    now_us = hub.now_us()
    with hub.store.transaction():
        hub.store.api_tokens.revoke(name, now_us)
        hub.store.audit.add(person.name, "api-token.revoke", name, now_us)


@router.get("/api/audit")
def audit(hub: Hub, _person: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
    """Tell who did what, the newest first."""
    return [asdict(entry) for entry in hub.store.audit.latest(limit)]


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(hub: Hub, _person: Viewer) -> str:
    """Give the hub's numbers in Prometheus' text format."""
    devices = hub.store.devices.all()
    totals = hub.telemetry.totals()
    rows = (
        ("sprat_devices", "gauge", "Devices in the fleet", len(devices)),
        ("sprat_devices_online", "gauge", "Devices connected now", sum(device.online for device in devices)),
        ("sprat_frames_total", "counter", "Frames stored", totals.frames),
        ("sprat_records_total", "counter", "Records stored", totals.records),
        ("sprat_duplicate_frames_total", "counter", "Frames that came again", totals.duplicates),
        ("sprat_quarantined_frames", "gauge", "Frames put aside", totals.quarantined_frames),
        ("sprat_frame_bytes", "gauge", "Bytes of stored frames", totals.bytes),
    )
    return "".join(
        f"# HELP {name} {help_}\n# TYPE {name} {kind}\n{name} {value}\n" for name, kind, help_, value in rows
    )

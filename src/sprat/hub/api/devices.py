"""Devices: who may join, who is here, their twins; and out."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from sprat.errors import WrongUse
from sprat.hub.api.given import Admin, Hub, Operator, Viewer
from sprat.hub.errors import NotFound
from sprat.hub.fleet import twin
from sprat.hub.fleet.enrolment import Wanted
from sprat.hub.services import Services, revoke
from sprat.hub.store.fleet_twins import ReportedTwin
from sprat.hub.store.rows import Device
from sprat.publish.wheelhouse import line
from sprat_device.contract import maintenance
from sprat_device.contract.ids import DeviceId, channel, device_id, model_name
from sprat_device.contract.twin import Desired, Detail, InputMode, TelemetrySettings

router = APIRouter()
_LOG_LEVELS = ("", "debug", "info", "warning", "error")


class NewToken(BaseModel):
    """What a device gets that uses the token."""

    device: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    channel: str = "stable"
    models: list[str]
    ttl_s: int = Field(default=3600, gt=0)


class Labels(BaseModel):
    """All labels of a device."""

    labels: dict[str, str] = Field(max_length=32)


class TwinSettings(BaseModel):
    """What the hub may tune on a device; what is left out stays the device's own setting."""

    detail: Detail | None = None
    daily_bytes: int | None = Field(default=None, ge=0)
    log_level: str = ""
    inputs: dict[str, InputMode] = Field(default_factory=dict, max_length=64)
    """`model` or `model/name` -> on or off, for devices whose owner lets the hub say so."""


class Hours(BaseModel):
    """When a device may change what answers, as its twin says it; empty is always."""

    windows: list[str] = []
    blackouts: list[str] = []
    utc_offset: str = "+00:00"
    defer_until: str = ""


@router.post("/api/tokens")
def make_token(hub: Hub, person: Operator, new: NewToken) -> dict[str, Any]:
    """Make a one-time token; it is shown this once."""
    wanted = Wanted(
        channel=channel(new.channel),
        models=tuple(model_name(name) for name in new.models),
        device=device_id(new.device) if new.device else "",
        labels=new.labels,
        life=timedelta(seconds=new.ttl_s),
    )
    hub.releases.require_channel(wanted.channel)
    token = hub.enrolment.make_token(wanted, hub.releases.root_sha256(), person.name)
    expires_us = hub.now_us() + new.ttl_s * 1_000_000
    return {"token": token.dump(), "device": new.device, "channel": new.channel, "models": new.models,
            "expires_us": expires_us, **_lines(hub, token.dump())}  # fmt: skip


@router.get("/api/tokens")
def tokens(hub: Hub, _person: Operator) -> list[dict[str, Any]]:
    """Tell which tokens were made and which devices used them."""
    return [
        {key: value for key, value in asdict(token).items() if not key.endswith("sha256")}
        for token in hub.store.tokens.all()
    ]


@router.get("/api/devices")
def devices(
    hub: Hub, _person: Viewer, *,
    label: Annotated[list[str] | None, Query(description="name=value; all of them must fit")] = None,
    online: bool | None = None, revoked: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Tell who is in the fleet."""
    wanted = dict(_label(text) for text in label or ())
    reported, desired = hub.store.reported.all(), hub.store.desired.all()
    return [
        describe(device, reported.get(device.id), desired.get(device.id))
        for device in hub.store.devices.all(revoked=revoked)
        if wanted.items() <= device.labels.items() and online in (None, device.online)
    ]


@router.get("/api/devices/{device}")
def device(hub: Hub, _person: Viewer, device: str) -> dict[str, Any]:
    """Tell everything of one device, both twins included."""
    found = existing(hub, device)
    return describe(found, hub.store.reported.get(found.id), hub.store.desired.get(found.id))


@router.post("/api/devices/{device}/revoke", status_code=204)
def revoke_device(hub: Hub, person: Admin, device: str) -> None:
    """Put a device out of the fleet, at once."""
    revoke(hub, existing(hub, device).id, person.name)


@router.put("/api/devices/{device}/labels")
def set_labels(hub: Hub, person: Operator, device: str, new: Labels) -> dict[str, str]:
    """Replace the labels of a device."""
    for name, value in new.labels.items():
        if not 0 < len(name) <= 63 or len(value) > 63 or not (name + value).isprintable():
            raise WrongUse(f"label {name[:63]!r}: expected name and value of at most 63 printable characters")
    found, now_us = existing(hub, device), hub.now_us()
    with hub.store.transaction():
        hub.store.devices.set_labels(found.id, new.labels)
        changed = {"before": dict(found.labels), "after": new.labels}
        hub.store.audit.add(person.name, "device.labels", found.id, now_us, changed)
    return new.labels


@router.put("/api/devices/{device}/settings")
def set_settings(hub: Hub, person: Operator, device: str, new: TwinSettings) -> dict[str, Any]:
    """Tune a device's telemetry and log level, and switch its inputs, through its desired twin."""
    if new.log_level not in _LOG_LEVELS:
        raise WrongUse(f"log level {new.log_level[:32]!r}: expected one of {', '.join(_LOG_LEVELS[1:])}, or empty")
    found = existing(hub, device)
    telemetry = TelemetrySettings(new.detail, new.daily_bytes)
    after = hub.twins.change(found.id, lambda now: twin.with_settings(now, telemetry, new.log_level, new.inputs))
    hub.store.audit.add(person.name, "device.settings", found.id, hub.now_us(), new.model_dump(mode="json"))
    return asdict(after)


@router.put("/api/devices/{device}/maintenance")
def set_maintenance(hub: Hub, person: Operator, device: str, new: Hours) -> dict[str, Any]:
    """Ask a device to begin trials only in these hours; it asks its own settings too."""
    asked = new.model_dump() if maintenance.parse(new.model_dump()).asks else {}
    found = existing(hub, device)
    after = hub.twins.change(found.id, lambda now: twin.with_maintenance(now, asked))
    hub.store.audit.add(person.name, "device.maintenance", found.id, hub.now_us(), asked)
    return asdict(after)


def existing(hub: Services, device: str) -> Device:
    """Return a device of the fleet, or raise NotFound."""
    found = hub.store.devices.get(DeviceId(device))
    if found is None:
        raise NotFound(f"device {device[:63]!r}: not in the fleet; `sprat fleet list` shows who is")
    return found


def describe(device: Device, reported: ReportedTwin | None, desired: Desired | None) -> dict[str, Any]:
    """Return a device as the API tells it."""
    return {
        **asdict(device),
        "reported": asdict(reported.twin) if reported else None,
        "reported_us": reported.received_us if reported else 0,
        "desired": asdict(desired) if desired else None,
    }


def _lines(hub: Services, token: str) -> dict[str, str]:
    """Return where devices reach this hub, and the lines that bring the agent onto a board; empty where they cannot."""
    url = str((hub.folder.running() or {}).get("device_url", ""))
    agent = hub.wheelhouses.newest_agent()
    return {
        "hub": url,
        "setup": line.online(url, agent, token) if url and agent else "",
        "setup_offline": line.offline(url, token) if url else "",
    }


def _label(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise WrongUse(f"label {text[:63]!r}: expected name=value")
    return name, value

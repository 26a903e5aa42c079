"""The port that devices use: enrolment for who has a token, signed files for who has a certificate."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from sprat.errors import ContractError
from sprat.hub.access import Public, RequireDevice
from sprat.hub.api.given import Hub
from sprat.hub.errors import NotFound
from sprat.hub.fleet.renewal import renew as renew_certificate
from sprat.hub.services import Services, refuse_revoked
from sprat_device.contract.enrolment import (
    CA_PATH,
    ENROL_PATH,
    METADATA_PATH,
    ROOT_PATH,
    TARGETS_PATH,
    EnrolAnswer,
    EnrolRequest,
    parse_request,
)
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.renewal import DESIRED_PATH, GRACE_S, RENEW_PATH, RenewAnswer
from sprat_device.contract.renewal import parse_request as parse_renewal

router = APIRouter()
Device = Annotated[str, Depends(RequireDevice())]
Renewing = Annotated[str, Depends(RequireDevice(grace=timedelta(seconds=GRACE_S)))]
_METADATA_FILE: Final = re.compile(r"(\d{1,9}\.)?[a-z0-9][a-z0-9_-]{0,62}\.json", re.ASCII)
_TARGET_FILE: Final = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){3}", re.ASCII)


@router.get(CA_PATH, dependencies=[Depends(Public("the token says what it must be"))])
def ca(hub: Hub) -> Response:
    """Give the CA's certificate."""
    return Response(hub.enrolment.authority.pem, media_type="application/x-pem-file")


@router.get(ROOT_PATH, dependencies=[Depends(Public("the token says what it must be"))])
def root(hub: Hub) -> Response:
    """Give the signing root."""
    return Response(hub.releases.root(), media_type="application/json")


@router.post(ENROL_PATH, dependencies=[Depends(Public("the one-time token is the right"))])
async def enrol(hub: Hub, request: Request) -> Response:
    """Turn a token and a signing request into a certificate."""
    wanted = parse_request(await _json(request))
    answer = await run_in_threadpool(_enrol, hub, wanted, request.url.hostname or "")
    return Response(answer.dump(), media_type="application/json")


@router.post(RENEW_PATH)
async def renew(hub: Hub, device: Renewing, request: Request) -> Response:
    """Give a new certificate to who shows the old one, even if that has ended lately."""
    wanted = parse_renewal(await _json(request))
    serial = request.state.peer.serial
    made = await run_in_threadpool(renew_certificate, hub.enrolment, DeviceId(device), serial, wanted)
    return Response(RenewAnswer(made.pem).dump(), media_type="application/json")


@router.get(DESIRED_PATH)
def desired(hub: Hub, device: Device) -> Response:
    """Give the desired twin, as the broker retains it."""
    found = hub.store.desired.committed(DeviceId(device))
    if found is None:
        raise NotFound(f"desired twin of {device!r}: nothing is wanted of it yet")
    return Response(found.dump(), media_type="application/json")


@router.get(METADATA_PATH + "{name}")
def metadata(hub: Hub, _device: Device, name: str) -> FileResponse:
    """Give one file of signed metadata."""
    if _METADATA_FILE.fullmatch(name) is None:
        raise NotFound(f"metadata {name[:120]!r}: no such file")
    return _file(hub, "metadata", name)


@router.get(TARGETS_PATH + "{path:path}")
def target(hub: Hub, _device: Device, path: str) -> FileResponse:
    """Give a bundle, or the part of it that a Range header asks for."""
    if _TARGET_FILE.fullmatch(path) is None:
        raise NotFound(f"target {path[:200]!r}: no such file")
    return _file(hub, "targets", path)


def _file(hub: Services, folder: str, name: str) -> FileResponse:
    path = hub.folder.repository / folder / name
    if not path.is_file():
        raise NotFound(f"{folder} {name!r}: no such file")
    return FileResponse(path, media_type="application/octet-stream")


def _enrol(hub: Services, wanted: EnrolRequest, reached_as: str) -> EnrolAnswer:
    joined = hub.enrolment.enrol(wanted)
    if joined.returned:
        refuse_revoked(hub)  # an id that comes back is no longer refused by the broker
    return EnrolAnswer(
        device=joined.device.id,
        certificate=joined.certificate.pem,
        mqtt_host=reached_as if reached_as in hub.names else hub.names[0],
        mqtt_port=hub.broker.endpoint.port,
        channel=joined.device.channel,
        models=joined.device.models,
    )


async def _json(request: Request) -> object:
    try:
        return await request.json()
    except (ValueError, RecursionError) as exc:
        raise ContractError("request: not JSON; send it with this version's agent") from exc

"""What the device port gives to boards that have no agent yet: the agent itself, and wheelhouses."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from sprat.hub.access import Public, RequireDevice
from sprat.hub.api.given import Hub
from sprat.hub.errors import NotFound, NotLoggedIn
from sprat.hub.services import Services
from sprat_device.contract.wheelhouse import AGENT_PATH, HOUSES_PATH, dump_list

router = APIRouter()
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequireBoard(RequireDevice):
    """A route's dependency: a device's certificate, or a one-time token whose time has not run out.

    A token that was used counts: the board whose set-up was cut off after enrolment asks again.
    """

    async def __call__(self, request: Request) -> str:
        """Return the device's id, or nothing for a board that will be one, or refuse."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            # By name: a dataclass with slots is another class than the one that `super()` remembers.
            return await RequireDevice.__call__(self, request)
        if not await run_in_threadpool(_is_good, request.app.state.services, secret):
            raise NotLoggedIn(
                "token", "this enrolment token is unknown or expired; make another with sprat enrol token"
            )
        return ""


Board = Annotated[str, Depends(RequireBoard())]


@router.get(AGENT_PATH + "{sha256}", dependencies=[Depends(Public("who asks knows what its SHA-256 must be"))])
def agent(hub: Hub, sha256: str) -> FileResponse:
    """Give the agent's wheel, by its digest."""
    if _DIGEST.fullmatch(sha256) is None:
        raise NotFound(f"agent {sha256[:64]!r}: expected 64 hex digits")
    return FileResponse(hub.wheelhouses.agent(sha256), media_type="application/octet-stream")


@router.get(HOUSES_PATH)
def wheelhouses(hub: Hub, _board: Board) -> Response:
    """Tell which wheelhouses this hub has."""
    return Response(dump_list(hub.wheelhouses.all()), media_type="application/json")


@router.get(HOUSES_PATH + "/{name}/{path:path}")
def wheelhouse_file(hub: Hub, _board: Board, name: str, path: str) -> FileResponse:
    """Give one file of a wheelhouse."""
    return FileResponse(hub.wheelhouses.file(name, path), media_type="application/octet-stream")


def _is_good(hub: Services, secret: str) -> bool:
    token = hub.store.tokens.get(hashlib.sha256(secret.encode()).hexdigest())
    return token is not None and hub.now_us() <= token.expires_us

"""Publishing: the signing root, channel roles, and releases that were signed elsewhere."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from sprat.errors import WrongUse
from sprat.hub.api.given import Admin, Hub, Operator, Viewer
from sprat.hub.errors import NotFound
from sprat_device.contract.ids import channel, model_name

router = APIRouter()
_MOST_FILES: Final = 64


class InitialMetadata(BaseModel):
    """File name -> the signed bytes, as `sprat keys init` makes them."""

    metadata: dict[str, str] = Field(max_length=16)


@router.get("/api/repository/online-key")
def online_key(hub: Hub, _person: Operator) -> dict[str, Any]:
    """Give the public key that signs snapshot and timestamp here."""
    return hub.releases.online_key()


@router.post("/api/repository", status_code=201)
def found(hub: Hub, person: Admin, new: InitialMetadata) -> dict[str, str]:
    """Begin the repository with the metadata of a publisher."""
    hub.releases.found({name: data.encode() for name, data in new.metadata.items()}, person.name)
    return {"root_sha256": hub.releases.root_sha256()}


@router.get("/api/repository/metadata/{role}")
def role(hub: Hub, _person: Viewer, role: str) -> Response:
    """Give the newest metadata of a role."""
    try:
        data = hub.releases.role(model_name(role) if role not in {"root", "targets", "snapshot", "timestamp"} else role)
    except FileNotFoundError as exc:
        raise NotFound(f"role {role!r}: this repository has none of that name") from exc
    return Response(data, media_type="application/json")


@router.get("/api/repository/next-release-seq/{model}")
def next_release_seq(hub: Hub, _person: Viewer, model: str) -> dict[str, int]:
    """Tell the number of the next release of a model."""
    return {"release_seq": hub.releases.next_release_seq(model_name(model))}


@router.get("/api/releases")
def releases(
    hub: Hub, _person: Viewer, model: Annotated[str, Query()] = "", channel: Annotated[str, Query()] = ""
) -> list[dict[str, Any]]:
    """Tell which releases there are, the newest first."""
    return [asdict(release) for release in hub.store.releases.all(model=model, channel=channel)]


@router.post("/api/releases", status_code=201)
async def accept(hub: Hub, person: Operator, request: Request) -> list[dict[str, Any]]:
    """Take in a signed channel role and its new bundles.

    Multipart: `channel`, `role` (the signed bytes), `measured` (JSON: target path -> what was measured), and each
    bundle as a part `bundle` whose file name is its target path.
    """
    # Read here, not by a parameter: nothing is unpacked before the sender is known.
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FILES) as form:
        return await run_in_threadpool(_accept, hub, person.name, form)


def _accept(hub: Hub, who: str, form: FormData) -> list[dict[str, Any]]:
    hub.folder.uploads.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=hub.folder.uploads) as folder:
        files = {}
        for number, part in enumerate(form.getlist("bundle")):
            if not isinstance(part, UploadFile) or not part.filename:
                raise WrongUse("release: each `bundle` must be a file named by its target path")
            files[part.filename] = _saved(part, Path(folder) / f"{number}.sprat")
        new = hub.releases.accept(
            channel(form.get("channel")), _bytes(form, "role"), files, _mapping(_bytes(form, "measured")), who=who
        )
    return [asdict(release) for release in new]


def _saved(part: UploadFile, path: Path) -> Path:
    with path.open("wb") as file:
        while chunk := part.file.read(1024 * 1024):
            file.write(chunk)
    return path


def _bytes(form: FormData, name: str) -> bytes:
    match form.get(name):
        case UploadFile() as part:
            return part.file.read()
        case str(text):
            return text.encode()
        case _:
            raise WrongUse(f"release: the part {name!r} is missing")


def _mapping(raw: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError as exc:
        raise WrongUse(f"release: the part 'measured' is not JSON ({exc})") from exc
    if not isinstance(document, dict):
        raise WrongUse("release: the part 'measured' must be a JSON object")
    return document

"""Gets a wheelhouse from the hub: with the one-time token before a board is enrolled, with its certificate afterwards.

The hub is known by the CA whose SHA-256 the token carries, or that the device pinned; every file is compared with the
manifest that came over that TLS.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection, IncompleteRead
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sprat_device.board import pinned
from sprat_device.board.identity import Identity
from sprat_device.board.upkeep.house import House, open_house
from sprat_device.board.upkeep.machine import Machine
from sprat_device.board.upkeep.places import BoardRefused
from sprat_device.contract.enrolment import parse_token
from sprat_device.contract.errors import HubUnreachable
from sprat_device.contract.wheelhouse import (
    HOUSES_PATH,
    MANIFEST,
    MAX_MANIFEST,
    HouseFile,
    Wheelhouse,
    parse,
    parse_list,
)

_TIMEOUT_S: Final = 60
_CHUNK: Final = 256 * 1024
_MAX_LIST: Final = 16 * MAX_MANIFEST


@dataclass(frozen=True, slots=True)
class HubHouses:
    """The wheelhouses of one hub, over one TLS."""

    url: str
    tls: ssl.SSLContext
    token: str = field(default="", repr=False)
    """The secret of the one-time token; empty once the board has a certificate."""

    def listed(self) -> tuple[Wheelhouse, ...]:
        """Return what the hub has."""
        return parse_list(self._get(HOUSES_PATH, limit=_MAX_LIST))

    def fetch(self, wanted: Wheelhouse, folder: Path) -> House:
        """Download one into a folder, each file checked as it comes."""
        path = f"{HOUSES_PATH}/{wanted.name}/"
        raw = self._get(path + MANIFEST, limit=MAX_MANIFEST)
        (folder / "wheels").mkdir(parents=True)
        for file in parse(raw).files:
            self._download(path + file.name, file, folder / file.name)
        (folder / MANIFEST).write_bytes(raw)
        return open_house(folder)

    def _get(self, path: str, *, limit: int) -> bytes:
        return b"".join(self._parts(path, limit))

    def _download(self, path: str, file: HouseFile, to: Path) -> None:
        digest = hashlib.sha256()
        with to.open("wb") as target, closing(self._parts(path, file.bytes)) as parts:
            for part in parts:
                digest.update(part)
                target.write(part)
        if digest.hexdigest() != file.sha256:
            raise BoardRefused("tampered", f"{self.url}{path}: not the bytes that the manifest names; build it again")

    def _parts(self, path: str, limit: int) -> Generator[bytes]:
        """Read an answer piece by piece; what its reader does with them raises there, not here."""
        address = urlsplit(self.url)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        connection = HTTPSConnection(address.hostname or "", address.port, context=self.tls, timeout=_TIMEOUT_S)
        try:
            connection.connect()
        except OSError as exc:
            raise HubUnreachable(f"{self.url}: no answer ({exc}); is the hub running and the address right?") from exc
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                raise pinned.refusal(self.url + path, response.status, response.read(4096))
            seen = 0
            while part := response.read(_CHUNK):
                seen += len(part)
                if seen > limit:
                    raise BoardRefused("too-long", f"{self.url}{path}: more than {limit} bytes; build it again")
                yield part
            if response.length:  # `read` takes a connection that was closed too early for the end
                raise IncompleteRead(b"", response.length)
        except (HTTPException, OSError) as exc:
            raise HubUnreachable(f"{self.url}{path}: cut off ({exc}); is the hub running and reachable?") from exc
        finally:
            connection.close()


def by_token(hub_url: str, token: str) -> HubHouses:
    """Trust the hub that the token's hashes name."""
    url, secret = pinned.require_https(hub_url), parse_token(token)
    ca, _ = pinned.fetch(url, secret)
    return HubHouses(url, pinned.context(ca), secret.secret)


def by_certificate(identity: Identity, url: str = "") -> HubHouses:
    """Trust the hub that the device pinned when it enrolled; `url` is another way to it."""
    tls = pinned.context(identity.ca.read_bytes(), pair=(identity.certificate, identity.key))
    return HubHouses(pinned.require_https(url or identity.hub_url), tls)


def choose(houses: Sequence[Wheelhouse], machine: Machine, *, name: str = "", runtime: str = "") -> Wheelhouse:
    """Return the one for this board; where several would give different runtimes, the operator says which."""
    fitting = [
        house
        for house in sorted(houses, key=lambda house: house.name)
        if machine.arch in house.arch and machine.python == house.python
        if name in ("", house.name) and runtime in ("", house.runtime)
    ]
    kinds = {house.runtime for house in fitting}
    if len(kinds) == 1:
        return fitting[0]
    if kinds:
        names = ", ".join(house.name for house in fitting)
        raise BoardRefused("which-wheelhouse", f"the hub has {names} for this board; choose with --name NAME")
    had = ", ".join(f"{house.name} (Python {house.python}, {'/'.join(house.arch)})" for house in houses) or "none"
    wanted = f"{name or runtime or 'any'} for Python {machine.python} on {machine.arch}"
    raise BoardRefused("no-wheelhouse", f"wanted {wanted}, the hub has {had}; build one with sprat wheelhouse there")

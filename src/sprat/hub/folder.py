"""Where everything stands in the one folder of a hub."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sprat.errors import WrongUse


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the broker listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class HubFolder:
    """The paths of one hub; made by `hub init`, mode 0700, nothing in it is meant for other users."""

    root: Path

    @classmethod
    def existing(cls, root: Path) -> HubFolder:
        """Return the folder of a hub that was made, or raise WrongUse."""
        folder = cls(root.absolute())
        if not folder.fleet_db.exists():
            raise WrongUse(f"{root}: no hub here; make one with `sprat hub init {root}`")
        return folder

    @property
    def fleet_db(self) -> Path:
        """The hub's own database."""
        return self.root / "fleet.db"

    @property
    def repository(self) -> Path:
        """The signed repository: `metadata/` and `targets/`."""
        return self.root / "repository"

    @property
    def online_key(self) -> Path:
        """The key that signs snapshot and timestamp."""
        return self.root / "keys" / "online.pem"

    @property
    def authority(self) -> KeyPair:
        """The certificate authority of this fleet."""
        return KeyPair(self.root / "certs" / "ca.pem", self.root / "keys" / "ca.key")

    @property
    def crl(self) -> Path:
        """The certificates that were taken back."""
        return self.root / "certs" / "crl.pem"

    def pair(self, name: str) -> KeyPair:
        """Return the certificate of `server` (both ports), `hub` or `ingest` (clients of the broker)."""
        return KeyPair(self.root / "certs" / f"{name}.pem", self.root / "keys" / f"{name}.key")

    @property
    def broker(self) -> Path:
        """Settings, rights and retained messages of the managed broker."""
        return self.root / "broker"

    @property
    def uploads(self) -> Path:
        """Bundles on their way in; on the file system of the repository, so that a rename is enough."""
        return self.root / "uploads"

    @property
    def wheelhouses(self) -> Path:
        """What boards install the agent from; `sprat wheelhouse --out` writes here."""
        return self.root / "wheelhouses"

    @property
    def logs(self) -> Path:
        """What the hub's child processes say."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Held by the one hub that runs here."""
        return self.root / "hub.lock"

    @property
    def run_file(self) -> Path:
        """Addresses of the running hub, written when it is ready and removed when it ends."""
        return self.root / "run.json"

    @property
    def admin_token(self) -> Path:
        """The first API token, mode 0600."""
        return self.root / "admin.token"

    def running(self) -> dict[str, Any] | None:
        """Return the addresses of the hub that runs here, or None."""
        try:
            document: dict[str, Any] = json.loads(self.run_file.read_bytes())
        except FileNotFoundError:
            return None
        return document


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read, all of it or nothing."""
    raw = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

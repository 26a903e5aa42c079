"""Rights to join the fleet: one-time tokens, and the certificates that they were turned into."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import astuple, dataclass

from sprat.hub.store.database import Database
from sprat.hub.store.rows import Certificate, Token
from sprat_device.contract.ids import Channel, DeviceId, ModelName


@dataclass(frozen=True, slots=True)
class Tokens:
    """The table `tokens`."""

    database: Database

    def add(self, token: Token) -> None:
        """Keep a new token."""
        with self.database.transaction() as db:
            db.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    token.secret_sha256, token.device, json.dumps(dict(token.labels)), token.channel,
                    json.dumps(token.models), token.made_us, token.expires_us, token.made_by, token.used_us,
                    token.used_by, token.key_sha256,
                ),
            )  # fmt: skip

    def get(self, secret_sha256: str) -> Token | None:
        """Return the token of that secret; inside a transaction it is the state that will be committed."""
        with self.database.transaction() as db:
            row = db.execute("SELECT * FROM tokens WHERE secret_sha256 = ?", (secret_sha256,)).fetchone()
        return _token(row) if row else None

    def all(self) -> tuple[Token, ...]:
        """Return every token, the newest first."""
        with self.database.connection() as db:
            rows = db.execute("SELECT * FROM tokens ORDER BY made_us DESC").fetchall()
        return tuple(map(_token, rows))

    def use(self, secret_sha256: str, *, device: DeviceId, key_sha256: str, now_us: int) -> None:
        """Spend a token for one device and its public key."""
        with self.database.transaction() as db:
            db.execute(
                "UPDATE tokens SET used_us = ?, used_by = ?, key_sha256 = ? WHERE secret_sha256 = ? AND used_us = 0",
                (now_us, device, key_sha256, secret_sha256),
            )


@dataclass(frozen=True, slots=True)
class Certificates:
    """The table `certificates`."""

    database: Database

    def add(self, certificate: Certificate) -> None:
        """Keep a new certificate."""
        with self.database.transaction() as db:
            db.execute("INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(certificate))

    def get(self, serial: str) -> Certificate | None:
        """Return one by its serial number in hex."""
        with self.database.connection() as db:
            row = db.execute("SELECT * FROM certificates WHERE serial = ?", (serial,)).fetchone()
        return _certificate(row) if row else None

    def for_key(self, device: DeviceId, key_sha256: str) -> Certificate | None:
        """Return what was last issued to a device for one public key, unless it was revoked since."""
        with self.database.transaction() as db:
            row = db.execute(
                "SELECT * FROM certificates WHERE device = ? AND key_sha256 = ? AND revoked_us = 0 "
                "ORDER BY issued_us DESC LIMIT 1",
                (device, key_sha256),
            ).fetchone()
        return _certificate(row) if row else None

    def revoked(self) -> tuple[Certificate, ...]:
        """Return every revoked certificate."""
        with self.database.connection() as db:
            rows = db.execute("SELECT * FROM certificates WHERE revoked_us > 0 ORDER BY revoked_us").fetchall()
        return tuple(map(_certificate, rows))


def _token(row: sqlite3.Row) -> Token:
    return Token(
        secret_sha256=row["secret_sha256"],
        device=row["device"],
        labels=json.loads(row["labels"]),
        channel=Channel(row["channel"]),
        models=tuple(ModelName(name) for name in json.loads(row["models"])),
        made_us=row["made_us"],
        expires_us=row["expires_us"],
        made_by=row["made_by"],
        used_us=row["used_us"],
        used_by=row["used_by"],
        key_sha256=row["key_sha256"],
    )


def _certificate(row: sqlite3.Row) -> Certificate:
    return Certificate(
        serial=row["serial"],
        device=DeviceId(row["device"]),
        key_sha256=row["key_sha256"],
        pem=row["pem"],
        issued_us=row["issued_us"],
        expires_us=row["expires_us"],
        revoked_us=row["revoked_us"],
    )

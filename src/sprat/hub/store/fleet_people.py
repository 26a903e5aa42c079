"""People and programs that may use the hub, and the audit log of what they did."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sprat.hub.store.database import Database
from sprat.hub.store.rows import ApiToken, AuditEntry, Login, Role, WebSession


@dataclass(frozen=True, slots=True)
class Logins:
    """The table `logins`."""

    database: Database

    def put(self, login: Login) -> None:
        """Add a person, or change the password or role; a change ends the sessions of that person."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM web_sessions WHERE login = ?", (login.name,))
            db.execute(
                "INSERT INTO logins VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET password = excluded.password, role = excluded.role",
                (login.name, login.password, login.role, login.made_us),
            )

    def get(self, name: str) -> Login | None:
        """Return one person's login."""
        with self.database.connection() as db:
            row = db.execute("SELECT * FROM logins WHERE name = ?", (name,)).fetchone()
        return Login(row["name"], row["password"], Role(row["role"]), row["made_us"]) if row else None

    def all(self) -> tuple[Login, ...]:
        """Return every login by name."""
        with self.database.connection() as db:
            rows = db.execute("SELECT * FROM logins ORDER BY name").fetchall()
        return tuple(Login(row["name"], row["password"], Role(row["role"]), row["made_us"]) for row in rows)


@dataclass(frozen=True, slots=True)
class WebSessions:
    """The table `web_sessions`; keys are the SHA-256 of what the cookie says."""

    database: Database

    def add(self, sha256: str, session: WebSession) -> None:
        """Keep a new session."""
        with self.database.transaction() as db:
            db.execute(
                "INSERT INTO web_sessions VALUES (?, ?, ?, ?, ?)",
                (sha256, session.login, session.csrf, session.made_us, session.used_us),
            )

    def get(self, sha256: str) -> WebSession | None:
        """Return a session with the role that its login has now."""
        with self.database.connection() as db:
            row = db.execute(
                "SELECT s.*, l.role FROM web_sessions s JOIN logins l ON l.name = s.login WHERE sha256 = ?", (sha256,)
            ).fetchone()
        return WebSession(row["login"], Role(row["role"]), row["csrf"], row["made_us"], row["used_us"]) if row else None

    def touch(self, sha256: str, now_us: int) -> None:
        """Keep that a session is in use."""
        with self.database.transaction() as db:
            db.execute("UPDATE web_sessions SET used_us = ? WHERE sha256 = ?", (now_us, sha256))

    def remove(self, sha256: str) -> None:
        """End one session."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM web_sessions WHERE sha256 = ?", (sha256,))

    def remove_idle(self, used_before_us: int) -> None:
        """End the sessions that nobody used since."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM web_sessions WHERE used_us < ?", (used_before_us,))


@dataclass(frozen=True, slots=True)
class ApiTokens:
    """The table `api_tokens`; keys are SHA-256 of the token."""

    database: Database

    def add(self, sha256: str, token: ApiToken) -> None:
        """Keep a new token."""
        with self.database.transaction() as db:
            db.execute(
                "INSERT INTO api_tokens VALUES (?, ?, ?, ?, ?)",
                (sha256, token.name, token.role, token.made_us, token.revoked_us),
            )

    def get(self, sha256: str) -> ApiToken | None:
        """Return a token that was not revoked."""
        with self.database.connection() as db:
            row = db.execute("SELECT * FROM api_tokens WHERE sha256 = ? AND revoked_us = 0", (sha256,)).fetchone()
        return ApiToken(row["name"], Role(row["role"]), row["made_us"]) if row else None

    def revoke(self, name: str, now_us: int) -> None:
        """Take every token of that name back."""
        with self.database.transaction() as db:
            db.execute("UPDATE api_tokens SET revoked_us = ? WHERE name = ? AND revoked_us = 0", (now_us, name))


@dataclass(frozen=True, slots=True)
class Audit:
    """The append-only table `audit`."""

    database: Database

    def add(self, who: str, action: str, subject: str, now_us: int, detail: Mapping[str, Any] | None = None) -> None:
        """Append one entry; call it in the transaction of what it tells of."""
        with self.database.transaction() as db:
            db.execute(
                "INSERT INTO audit (at_us, who, action, subject, detail) VALUES (?, ?, ?, ?, ?)",
                (now_us, who, action, subject, json.dumps(dict(detail or {}))),
            )

    def latest(self, limit: int = 100, *, before_seq: int = 2**62) -> tuple[AuditEntry, ...]:
        """Return the newest entries, the newest first."""
        with self.database.connection() as db:
            rows = db.execute(
                "SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?", (before_seq, limit)
            ).fetchall()
        return tuple(map(_entry, rows))


def _entry(row: sqlite3.Row) -> AuditEntry:
    return AuditEntry(
        row["seq"], row["at_us"], row["who"], row["action"], row["subject"], json.loads(row["detail"])
    )  # fmt: skip

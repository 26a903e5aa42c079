"""`fleet.db`: who is in the fleet, who may use the hub, what is wanted, told and published.

`FleetStore` opens the file and holds one object per duty; they share its single writer, so that one
`with store.transaction():` around several of them commits all or nothing.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from sprat.hub.store import schema
from sprat.hub.store.database import Database
from sprat.hub.store.fleet_devices import Devices
from sprat.hub.store.fleet_people import ApiTokens, Audit, Logins, WebSessions
from sprat.hub.store.fleet_releases import Releases
from sprat.hub.store.fleet_tokens import Certificates, Tokens
from sprat.hub.store.fleet_twins import DesiredTwins, ReportedTwins


class FleetStore(Database):
    """The hub's own database; every method that writes does so in a transaction of its own or in the caller's."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.migrate("fleet", schema.FLEET)
        self.devices = Devices(self)
        self.certificates = Certificates(self)
        self.tokens = Tokens(self)
        self.logins = Logins(self)
        self.web_sessions = WebSessions(self)
        self.api_tokens = ApiTokens(self)
        self.audit = Audit(self)
        self.desired = DesiredTwins(self)
        self.reported = ReportedTwins(self)
        self.releases = Releases(self)

    def fact(self, key: str, default: str = "") -> str:
        """Return one fact about the hub itself."""
        with self.connection() as db:
            row = db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return str(row["value"]) if row else default

    def set_fact(self, key: str, value: str) -> None:
        """Keep one fact about the hub itself."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))

    def incarnation(self) -> str:
        """Return the random number of this store, made at first use; a restored backup gets a new one."""
        if found := self.fact("incarnation"):
            return found
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO facts VALUES ('incarnation', ?)", (secrets.token_hex(8),))
        return self.fact("incarnation")

"""The twins of the devices: desired (this store is the truth) and reported (what arrived last)."""

from __future__ import annotations

from dataclasses import dataclass

from sprat.hub.store.database import Database
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.twin import Desired, Reported, parse_desired, parse_reported


@dataclass(frozen=True, slots=True)
class DesiredTwins:
    """The table `desired`."""

    database: Database

    def get(self, device: DeviceId) -> Desired | None:
        """Return what is wanted of a device; inside a transaction it is the state that will be committed."""
        with self.database.transaction() as db:
            row = db.execute("SELECT document FROM desired WHERE device = ?", (device,)).fetchone()
        return parse_desired(row["document"]) if row else None

    def committed(self, device: DeviceId) -> Desired | None:
        """Return what is wanted of a device as of the last commit, without waiting for a writer."""
        with self.database.connection() as db:
            row = db.execute("SELECT document FROM desired WHERE device = ?", (device,)).fetchone()
        return parse_desired(row["document"]) if row else None

    def all(self) -> dict[DeviceId, Desired]:
        """Return the desired twin of every device that is not revoked and has one."""
        with self.database.connection() as db:
            rows = db.execute(
                "SELECT device, document FROM desired JOIN devices ON id = device WHERE revoked_us = 0 ORDER BY device"
            ).fetchall()
        return {DeviceId(row["device"]): parse_desired(row["document"]) for row in rows}

    def put(self, device: DeviceId, desired: Desired, now_us: int) -> None:
        """Keep what is wanted."""
        with self.database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO desired VALUES (?, ?, ?, ?)", (device, desired.version, desired.dump(), now_us)
            )

    def remove(self, device: DeviceId) -> None:
        """Forget what was wanted of a device."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM desired WHERE device = ?", (device,))


@dataclass(frozen=True, slots=True)
class ReportedTwin:
    """A reported twin and when it arrived."""

    twin: Reported
    received_us: int


@dataclass(frozen=True, slots=True)
class ReportedTwins:
    """The table `reported`."""

    database: Database

    def get(self, device: DeviceId) -> ReportedTwin | None:
        """Return what a device told last."""
        with self.database.connection() as db:
            row = db.execute("SELECT * FROM reported WHERE device = ?", (device,)).fetchone()
        return ReportedTwin(parse_reported(row["document"]), row["received_us"]) if row else None

    def all(self) -> dict[DeviceId, ReportedTwin]:
        """Return the last word of every device that is not revoked."""
        with self.database.connection() as db:
            rows = db.execute(
                "SELECT r.* FROM reported r JOIN devices ON id = device WHERE revoked_us = 0 ORDER BY device"
            ).fetchall()
        return {
            DeviceId(row["device"]): ReportedTwin(parse_reported(row["document"]), row["received_us"]) for row in rows
        }

    def put(self, device: DeviceId, reported: Reported, now_us: int) -> None:
        """Keep what a device told; the broker keeps their order, so the last to arrive is the last told."""
        with self.database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO reported VALUES (?, ?, ?, ?)",
                (device, reported.version, reported.dump(), now_us),
            )

    def remove(self, device: DeviceId) -> None:
        """Forget what a device told: another board may come under its id."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM reported WHERE device = ?", (device,))

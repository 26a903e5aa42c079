"""Devices of the fleet: who they are, and whether they are here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from sprat.hub.store.database import Database
from sprat.hub.store.rows import Device
from sprat_device.contract.ids import Channel, DeviceId, ModelName


@dataclass(frozen=True, slots=True)
class Devices:
    """The table `devices`."""

    database: Database

    def add(self, device: Device) -> None:
        """Add one, or bring back one that was revoked, with its new channel, models and labels."""
        with self.database.transaction() as db:
            db.execute(
                "INSERT INTO devices (id, channel, models, labels, facts, enrolled_us) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET channel = excluded.channel, models = excluded.models, "
                "labels = excluded.labels, facts = excluded.facts, enrolled_us = excluded.enrolled_us, revoked_us = 0",
                (
                    device.id, device.channel, json.dumps(device.models), json.dumps(dict(device.labels)),
                    json.dumps(dict(device.facts)), device.enrolled_us,
                ),
            )  # fmt: skip

    def get(self, device: DeviceId) -> Device | None:
        """Return one device, revoked ones too."""
        with self.database.connection() as db:
            row = db.execute("SELECT * FROM devices WHERE id = ?", (device,)).fetchone()
        return _device(row) if row else None

    def all(self, *, revoked: bool = False) -> tuple[Device, ...]:
        """Return the devices by id; those that were revoked only if asked for."""
        wanted = "" if revoked else "WHERE revoked_us = 0"
        with self.database.connection() as db:
            rows = db.execute(f"SELECT * FROM devices {wanted} ORDER BY id").fetchall()  # noqa: S608 - two constants
        return tuple(map(_device, rows))

    def set_labels(self, device: DeviceId, labels: Mapping[str, str]) -> None:
        """Replace the labels of one device."""
        with self.database.transaction() as db:
            db.execute("UPDATE devices SET labels = ? WHERE id = ?", (json.dumps(dict(labels)), device))

    def revoke(self, device: DeviceId, now_us: int) -> None:
        """Mark one device and its certificates as revoked; the first time stays."""
        with self.database.transaction() as db:
            for table, key in (("devices", "id"), ("certificates", "device")):
                db.execute(
                    f"UPDATE {table} SET revoked_us = ? WHERE {key} = ? AND revoked_us = 0",  # noqa: S608 - constants
                    (now_us, device),
                )
            db.execute("UPDATE devices SET online = 0 WHERE id = ?", (device,))

    def presence(self, device: DeviceId, *, online: bool, boot_id: str, now_us: int) -> None:
        """Keep that a device came or went; `presence_us` is when that last changed."""
        with self.database.transaction() as db:
            db.execute(
                "UPDATE devices SET presence_us = CASE WHEN online = ? AND presence_us > 0 THEN presence_us ELSE ? END, "
                "seen_us = CASE WHEN ? THEN ? ELSE seen_us END, online = ?, boot_id = ? WHERE id = ?",
                (online, now_us, online, now_us, online, boot_id, device),
            )

    def seen(self, device: DeviceId, now_us: int) -> None:
        """Keep that a device said something."""
        with self.database.transaction() as db:
            db.execute("UPDATE devices SET seen_us = ? WHERE id = ?", (now_us, device))


def _device(row: sqlite3.Row) -> Device:
    return Device(
        id=DeviceId(row["id"]),
        channel=Channel(row["channel"]),
        models=tuple(ModelName(name) for name in json.loads(row["models"])),
        labels=json.loads(row["labels"]),
        facts=json.loads(row["facts"]),
        enrolled_us=row["enrolled_us"],
        revoked_us=row["revoked_us"],
        online=bool(row["online"]),
        boot_id=row["boot_id"],
        presence_us=row["presence_us"],
        seen_us=row["seen_us"],
    )

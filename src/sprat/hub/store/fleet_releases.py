"""Releases that the repository lists, so that pages and rollouts need not read signed metadata."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from sprat.hub.store.database import Database
from sprat.hub.store.rows import PublishedRelease
from sprat_device.contract.ids import Channel, Digest, ModelName


@dataclass(frozen=True, slots=True)
class Releases:
    """The table `releases`: one row for each channel, model, number and target."""

    database: Database

    def add(self, release: PublishedRelease) -> None:
        """Keep a release that was accepted, or list one again that was withdrawn; what it says never changes."""
        with self.database.transaction() as db:
            db.execute(
                "INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (channel, model, release_seq, target) DO UPDATE SET withdrawn_us = 0",
                (
                    release.channel, release.model, release.release_seq, release.target, release.bundle, release.size,
                    json.dumps(dict(release.signed)), json.dumps(dict(release.manifest)),
                    json.dumps(dict(release.measured)), release.accepted_us, release.accepted_by, release.withdrawn_us,
                ),
            )  # fmt: skip

    def all(self, *, model: str = "", channel: str = "") -> tuple[PublishedRelease, ...]:
        """Return releases, the newest number first; withdrawn ones too."""
        with self.database.connection() as db:
            rows = db.execute(
                "SELECT * FROM releases WHERE (? = '' OR model = ?) AND (? = '' OR channel = ?) "
                "ORDER BY model, release_seq DESC, channel, target",
                (model, model, channel, channel),
            ).fetchall()
        return tuple(map(_release, rows))

    def of(self, channel: Channel, model: ModelName, release_seq: int) -> tuple[PublishedRelease, ...]:
        """Return the bundles of one release in one channel, one per target."""
        with self.database.connection() as db:
            rows = db.execute(
                "SELECT * FROM releases WHERE channel = ? AND model = ? AND release_seq = ? ORDER BY target",
                (channel, model, release_seq),
            ).fetchall()
        return tuple(map(_release, rows))

    def withdraw(self, channel: Channel, model: ModelName, release_seq: int, target: str, now_us: int) -> None:
        """Keep that a release is no longer listed."""
        with self.database.transaction() as db:
            db.execute(
                "UPDATE releases SET withdrawn_us = ? "
                "WHERE channel = ? AND model = ? AND release_seq = ? AND target = ? AND withdrawn_us = 0",
                (now_us, channel, model, release_seq, target),
            )


def _release(row: sqlite3.Row) -> PublishedRelease:
    return PublishedRelease(
        channel=Channel(row["channel"]),
        model=ModelName(row["model"]),
        release_seq=row["release_seq"],
        target=row["target"],
        bundle=Digest(row["bundle"]),
        size=row["size"],
        signed=json.loads(row["signed"]),
        manifest=json.loads(row["manifest"]),
        measured=json.loads(row["measured"]),
        accepted_us=row["accepted_us"],
        accepted_by=row["accepted_by"],
        withdrawn_us=row["withdrawn_us"],
    )

"""Rollouts in `fleet.db`: their state, their members and what happened to them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

from sprat.hub.store.database import Database
from sprat.hub.store.rollout_values import GateValue, LogEntry, Member, MemberStatus, Rollout, parse_spec
from sprat_device.contract.phases import RolloutPhase

_FIRST: Final = """
CREATE TABLE rollouts (
  id TEXT PRIMARY KEY, model TEXT NOT NULL, phase TEXT NOT NULL, created_us INTEGER NOT NULL, by TEXT NOT NULL,
  wave INTEGER NOT NULL, wave_began_us INTEGER NOT NULL, started_us INTEGER NOT NULL, changed_us INTEGER NOT NULL,
  reason TEXT NOT NULL, spec TEXT NOT NULL, gates TEXT NOT NULL, accepted_gates TEXT NOT NULL
) STRICT;
CREATE TABLE rollout_members (
  rollout TEXT NOT NULL REFERENCES rollouts(id), device TEXT NOT NULL, wave INTEGER NOT NULL, status TEXT NOT NULL,
  since_us INTEGER NOT NULL, target TEXT NOT NULL, bundle TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  accepted INTEGER NOT NULL, PRIMARY KEY (rollout, device)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollout_log (
  id INTEGER PRIMARY KEY, rollout TEXT NOT NULL REFERENCES rollouts(id), at_us INTEGER NOT NULL, who TEXT NOT NULL,
  code TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE INDEX rollout_log_of_rollout ON rollout_log (rollout, id);
"""
_OFFERS: Final = """
ALTER TABLE rollout_members ADD COLUMN offered_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout_members ADD COLUMN before INTEGER NOT NULL DEFAULT 0;
UPDATE rollout_members SET offered_us = since_us WHERE bundle != '' AND status != 'pending';
"""


class RolloutStore:
    """The tables of rollouts, in the fleet's database and its transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("rollouts", (_FIRST, _OFFERS))

    def all(self) -> tuple[Rollout, ...]:
        """Return every rollout with its members, the newest first."""
        with self._database.connection() as db:
            members: dict[str, dict[str, Member]] = {}
            for row in db.execute("SELECT * FROM rollout_members ORDER BY device"):
                members.setdefault(row["rollout"], {})[row["device"]] = _member(row)
            rows = db.execute("SELECT * FROM rollouts ORDER BY created_us DESC, id").fetchall()
        return tuple(_rollout(row, members.get(row["id"], {})) for row in rows)

    def get(self, rollout: str) -> Rollout | None:
        """Return one rollout with its members."""
        with self._database.connection() as db:
            row = db.execute("SELECT * FROM rollouts WHERE id = ?", (rollout,)).fetchone()
            found = db.execute("SELECT * FROM rollout_members WHERE rollout = ? ORDER BY device", (rollout,)).fetchall()
        return _rollout(row, {m["device"]: _member(m) for m in found}) if row else None

    def save(self, rollout: Rollout, before: Rollout | None, log: Iterable[LogEntry]) -> None:
        """Keep the new state in one transaction; of the members only those that changed since `before`."""
        known = before.members if before else {}
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                if before is None
                else "UPDATE rollouts SET id = ?, model = ?, phase = ?, created_us = ?, by = ?, wave = ?, wave_began_us = ?, "
                "started_us = ?, changed_us = ?, reason = ?, spec = ?, gates = ?, accepted_gates = ? WHERE id = ?",
                _columns(rollout) if before is None else (*_columns(rollout), rollout.id),
            )
            db.executemany(
                "INSERT OR REPLACE INTO rollout_members VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        rollout.id, m.device, m.wave, str(m.status), m.since_us, m.target, m.bundle, m.reason, m.detail,
                        int(m.accepted), m.offered_us, m.before,
                    )
                    for m in rollout.members.values() if known.get(m.device) != m
                ],
            )  # fmt: skip
            db.executemany(
                "INSERT INTO rollout_log (rollout, at_us, who, code, detail) VALUES (?, ?, ?, ?, ?)",
                [(rollout.id, entry.at_us, entry.who, entry.code, entry.detail) for entry in log],
            )

    def log(self, rollout: str) -> tuple[LogEntry, ...]:
        """Return what happened to a rollout, the oldest first."""
        with self._database.connection() as db:
            rows = db.execute("SELECT * FROM rollout_log WHERE rollout = ? ORDER BY id", (rollout,)).fetchall()
        return tuple(LogEntry(row["at_us"], row["who"], row["code"], row["detail"]) for row in rows)


def _columns(rollout: Rollout) -> tuple[str | int, ...]:
    return (
        rollout.id, rollout.spec.model, str(rollout.phase), rollout.created_us, rollout.by, rollout.wave,
        rollout.wave_began_us, rollout.started_us, rollout.changed_us, rollout.reason, json.dumps(rollout.spec.dump()),
        json.dumps([asdict(gate) for gate in rollout.gates]), json.dumps(rollout.accepted_gates),
    )  # fmt: skip


def _rollout(row: sqlite3.Row, members: dict[str, Member]) -> Rollout:
    return Rollout(
        id=row["id"], spec=parse_spec(json.loads(row["spec"])), created_us=row["created_us"], by=row["by"],
        phase=RolloutPhase(row["phase"]), wave=row["wave"], wave_began_us=row["wave_began_us"],
        started_us=row["started_us"], changed_us=row["changed_us"], reason=row["reason"], members=members,
        gates=tuple(GateValue(**gate) for gate in json.loads(row["gates"])),
        accepted_gates=tuple(json.loads(row["accepted_gates"])),
    )  # fmt: skip


def _member(row: sqlite3.Row) -> Member:
    return Member(
        device=row["device"], wave=row["wave"], status=MemberStatus(row["status"]), since_us=row["since_us"],
        target=row["target"], bundle=row["bundle"], reason=row["reason"], detail=row["detail"],
        accepted=bool(row["accepted"]), offered_us=row["offered_us"], before=row["before"],
    )  # fmt: skip

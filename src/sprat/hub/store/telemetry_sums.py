"""Adds to the sums of `telemetry.db` inside the writer's transaction: rollups, tallies, drift, events, health."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from sprat.hub.store.telemetry_rows import rollup as read_rollup
from sprat.hub.store.telemetry_values import DriftCounts, NewEvent, Rollup


def write_rollups(db: sqlite3.Connection, parts: Iterable[tuple[str, Rollup]]) -> None:
    """Merge the rollups of a batch into the stored ones, each stored row read and written once."""
    merged: dict[tuple[str, str, int, str], Rollup] = {}
    for device, part in parts:
        key = (device, part.bundle, part.minute_us, str(part.lane))
        if key not in merged:
            merged[key] = Rollup(part.bundle, part.model, part.minute_us, part.lane)
        merged[key].merge(part)
    for key, added in merged.items():
        _add_tally(db, key[0], added)
        row = db.execute(
            "SELECT * FROM rollups WHERE device = ? AND bundle = ? AND minute_us = ? AND lane = ?", key
        ).fetchone()
        if row is not None:
            added.merge(read_rollup(row))
        db.execute(
            "INSERT OR REPLACE INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *key, added.model, added.release_seq, added.predictions, added.errors,
                _plain(sorted(added.classes.items())), _plain(added.latency.dump()), _plain(added.confidence.dump()),
            ),
        )  # fmt: skip


def _add_tally(db: sqlite3.Connection, device: str, added: Rollup) -> None:
    db.execute(
        "INSERT INTO tallies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device, bundle, lane) DO UPDATE SET "
        "release_seq = max(release_seq, excluded.release_seq), predictions = predictions + excluded.predictions, "
        "errors = errors + excluded.errors, first_minute_us = min(first_minute_us, excluded.first_minute_us), "
        "last_minute_us = max(last_minute_us, excluded.last_minute_us)",
        (
            device, added.bundle, str(added.lane), added.model, added.release_seq, added.predictions, added.errors,
            added.minute_us, added.minute_us,
        ),
    )  # fmt: skip


def write_drift(db: sqlite3.Connection, parts: Iterable[tuple[str, DriftCounts]]) -> None:
    """Add drift counts; counts of another length than the stored ones (other edges) begin anew."""
    for device, part in parts:
        key = (device, part.bundle, part.feature, part.hour_us)
        row = db.execute(
            "SELECT counts FROM drift WHERE device = ? AND bundle = ? AND feature = ? AND hour_us = ?", key
        ).fetchone()
        stored = json.loads(row["counts"]) if row else []
        total = (
            [a + b for a, b in zip(stored, part.counts, strict=True)]
            if len(stored) == len(part.counts)
            else part.counts
        )
        db.execute("INSERT OR REPLACE INTO drift VALUES (?, ?, ?, ?, ?)", (*key, _plain(total)))


def insert_events(db: sqlite3.Connection, device: str, events: Iterable[NewEvent], *, source: str) -> None:
    """Append events of a device, or of the hub about it; frames that were told as evicted before count once."""
    for event in events:
        detail = _plain(dict(event.detail))
        if not (event.code == "gap" and "first_seq" in event.detail and _is_told(db, device, detail)):
            db.execute(
                "INSERT INTO events (device, at_us, source, code, model, bundle, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (device, event.at_us, source, event.code, event.model, event.bundle, detail),
            )


def _is_told(db: sqlite3.Connection, device: str, detail: str) -> bool:
    """Tell whether a gap stands among the events; it names epoch and seq, which are used once."""
    return (
        db.execute("SELECT 1 FROM events WHERE code = 'gap' AND device = ? AND detail = ?", (device, detail)).fetchone()
        is not None
    )


def insert_health(db: sqlite3.Connection, device: str, samples: Iterable[NewEvent]) -> None:
    """Keep health samples of a device."""
    db.executemany(
        "INSERT OR REPLACE INTO health VALUES (?, ?, ?)",
        [(device, sample.at_us, _plain(dict(sample.detail))) for sample in samples],
    )


def _plain(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), default=repr)

"""`telemetry.db` for its readers: what came back from devices, as typed rows.

Only the ingest process writes (`telemetry_commit.py`). Counts of different lanes tell of the same predictions, so each
read takes the fullest lane of a device and bundle and never adds two.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from sprat.hub.store.database import Database
from sprat.hub.store.telemetry_rows import drift_rows, ledger_row, minute_rows, prediction_rows, tallies
from sprat.hub.store.telemetry_schema import TELEMETRY
from sprat.hub.store.telemetry_shadows import read_shadows
from sprat.hub.store.telemetry_values import (
    DriftRow,
    EventRow,
    HealthRow,
    LedgerRow,
    MinuteRow,
    PredictionRow,
    QuarantineRow,
    ShadowHour,
    Tally,
    Totals,
)
from sprat_device.contract.phases import Lane

FILE_NAME: Final = "telemetry.db"
_EVER: Final = 2**62


class TelemetryStore(Database):
    """Frames, rollups, events, ledger and quarantine of the whole fleet; an empty filter means all."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.migrate("telemetry", TELEMETRY)

    def predictions(
        self, device: str, *, model: str = "", after: int = 0, limit: int = 1000
    ) -> tuple[PredictionRow, ...]:
        """Return predictions in the order of arrival, whole frames, until `limit` is reached; `after` is a row's `frame`."""
        sql = "SELECT * FROM frames WHERE device = ? AND lane = ? AND id > ? AND (? = '' OR model = ?) ORDER BY id LIMIT ?"
        found: list[PredictionRow] = []
        with self.connection() as db:
            for row in db.execute(sql, (device, Lane.PREDICTIONS, after, model, model, max(1, limit))):
                found.extend(prediction_rows(row))
                if len(found) >= limit:
                    break
        return tuple(found)

    def ledger(self, device: str = "") -> tuple[LedgerRow, ...]:
        """Return one row for each device, epoch and lane that ever sent a frame."""
        ranges: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
        with self.connection() as db:
            rows = db.execute(
                "SELECT * FROM lanes WHERE ? = '' OR device = ? ORDER BY device, updated_us DESC, lane",
                (device, device),
            ).fetchall()
            for entry in db.execute("SELECT * FROM committed WHERE ? = '' OR device = ?", (device, device)):
                key = (entry["device"], entry["epoch"], entry["lane"])
                ranges.setdefault(key, []).append((entry["first"], entry["last"]))
        return tuple(ledger_row(row, ranges.get((row["device"], row["epoch"], row["lane"]), [])) for row in rows)

    def events(
        self,
        device: str = "",
        *,
        source: str = "",
        code: str = "",
        since_us: int = 0,
        before: int = _EVER,
        limit: int = 100,
    ) -> tuple[EventRow, ...]:
        """Return events, the newest first; `before` is the id of the last row of the page before."""
        sql = (
            "SELECT * FROM events WHERE (? = '' OR device = ?) AND (? = '' OR source = ?) AND (? = '' OR code = ?) "
            "AND at_us >= ? AND id < ? ORDER BY id DESC LIMIT ?"
        )
        with self.connection() as db:
            rows = db.execute(sql, (device, device, source, source, code, code, since_us, before, limit)).fetchall()
        return tuple(_event(row) for row in rows)

    def tallies(self, *, model: str = "", bundles: Collection[str] = (), device: str = "") -> tuple[Tally, ...]:
        """Return what each device did with each bundle since it first ran it: the rollout's gates read this."""
        sql = (
            "SELECT * FROM tallies WHERE (? = '' OR model = ?) AND (? = '' OR device = ?) "  # noqa: S608 - question marks only
            f"AND ({_among('bundle', bundles)})"
        )
        with self.connection() as db:
            rows = db.execute(sql, (model, model, device, device, *bundles)).fetchall()
        return tallies(rows)

    def minutes(
        self,
        *,
        since_us: int,
        until_us: int = _EVER,
        devices: Collection[str] = (),
        bundles: Collection[str] = (),
        model: str = "",
    ) -> tuple[MinuteRow, ...]:
        """Return counts and sketches by minute and bundle, summed over the devices, the oldest minute first."""
        sql = (
            "SELECT * FROM rollups WHERE minute_us >= ? AND minute_us < ? AND (? = '' OR model = ?) "  # noqa: S608 - question marks only
            f"AND ({_among('device', devices)}) AND ({_among('bundle', bundles)})"
        )
        with self.connection() as db:
            rows = db.execute(sql, (since_us, until_us, model, model, *devices, *bundles)).fetchall()
        return minute_rows(rows)

    def drift(
        self,
        *,
        since_us: int = 0,
        until_us: int = _EVER,
        devices: Collection[str] = (),
        bundles: Collection[str] = (),
    ) -> tuple[DriftRow, ...]:
        """Return counts over the baseline's edges by hour, bundle and feature, summed over the devices."""
        sql = (
            "SELECT * FROM drift WHERE hour_us >= ? AND hour_us < ? "  # noqa: S608 - question marks only
            f"AND ({_among('device', devices)}) AND ({_among('bundle', bundles)}) ORDER BY hour_us, bundle, feature"
        )
        with self.connection() as db:
            return drift_rows(db.execute(sql, (since_us, until_us, *devices, *bundles)).fetchall())

    def shadows(self, shadow_bundle: str, *, since_us: int = 0, device: str = "") -> tuple[ShadowHour, ...]:
        """Return what a bundle showed as a shadow, by active bundle and hour, of one device or summed over all."""
        with self.connection() as db:
            return read_shadows(db, shadow_bundle=shadow_bundle, since_us=since_us, device=device)

    def health(self, device: str, *, since_us: int = 0, limit: int = 1000) -> tuple[HealthRow, ...]:
        """Return the last health samples of one device, the oldest first."""
        sql = "SELECT * FROM health WHERE device = ? AND at_us >= ? ORDER BY at_us DESC LIMIT ?"
        with self.connection() as db:
            rows = db.execute(sql, (device, since_us, limit)).fetchall()
        return tuple(HealthRow(row["device"], row["at_us"], json.loads(row["detail"])) for row in reversed(rows))

    def received(self) -> dict[str, int]:
        """Return when a frame of each device was last committed."""
        with self.connection() as db:
            rows = db.execute("SELECT device, max(updated_us) AS at FROM lanes GROUP BY device").fetchall()
        return {row["device"]: row["at"] for row in rows}

    def quarantine(self, device: str = "", *, limit: int = 100) -> tuple[QuarantineRow, ...]:
        """Return what was put aside, the newest first, without its bytes."""
        sql = "SELECT *, length(raw) AS size FROM quarantine WHERE ? = '' OR device = ? ORDER BY id DESC LIMIT ?"
        with self.connection() as db:
            return tuple(_quarantined(row) for row in db.execute(sql, (device, device, limit)))

    def quarantined(self, entry: int) -> QuarantineRow | None:
        """Return one entry with its bytes."""
        with self.connection() as db:
            row = db.execute("SELECT *, length(raw) AS size FROM quarantine WHERE id = ?", (entry,)).fetchone()
        return _quarantined(row, raw=row["raw"]) if row else None

    def totals(self) -> Totals:
        """Return the sums over the whole store."""
        with self.connection() as db:
            lanes = db.execute(
                "SELECT coalesce(sum(frames), 0) AS frames, coalesce(sum(stored), 0) AS records, "
                "coalesce(sum(duplicates), 0) AS duplicates FROM lanes"
            ).fetchone()
            (size,) = db.execute("SELECT coalesce(sum(length(raw)), 0) FROM frames").fetchone()
            (aside,) = db.execute("SELECT count(*) FROM quarantine").fetchone()
            (events,) = db.execute("SELECT count(*) FROM events").fetchone()
        return Totals(lanes["frames"], lanes["records"], size, lanes["duplicates"], aside, events)


def _among(column: str, values: Iterable[str]) -> str:
    marks = ", ".join("?" for _ in values)
    return f"{column} IN ({marks})" if marks else "1"


def _event(row: sqlite3.Row) -> EventRow:
    return EventRow(
        id=row["id"], device=row["device"], at_us=row["at_us"], source=row["source"], code=row["code"],
        model=row["model"], bundle=row["bundle"], detail=json.loads(row["detail"]),
    )  # fmt: skip


def _quarantined(row: sqlite3.Row, *, raw: bytes = b"") -> QuarantineRow:
    return QuarantineRow(
        id=row["id"], device=row["device"], received_us=row["received_us"], reason=row["reason"],
        detail=row["detail"], epoch=row["epoch"], lane=row["lane"], seq=row["seq"], size=row["size"],
        times=row["times"], raw=raw,
    )  # fmt: skip

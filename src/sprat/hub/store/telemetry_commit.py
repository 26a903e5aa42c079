"""The one writer of `telemetry.db`: a batch of frames with all that follows from them, in one transaction.

A frame whose key was committed before is a duplicate and counts for nothing; if its bytes are others, it goes to
quarantine. What the verdicts say holds only after `commit` returned, so that an ack never runs ahead of the disk.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sprat.errors import MachineLacks
from sprat.hub.store import telemetry_sums as sums
from sprat.hub.store.ranges import Ranges
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_shadows import write_shadows
from sprat.hub.store.telemetry_values import DAY_US, Anchor, NewEvent, NewFrame, Outcome, Spoiled, Timing, Verdict
from sprat_device.contract.frame import FrameHeader, checksum

_Lane = tuple[str, str, str]
"""Device, epoch in hex, lane."""
CONFLICT_CODE = "frame-conflict"
QUARANTINE_CODE = "frame-quarantined"


@dataclass(slots=True)
class _LaneSums:
    """What one batch adds to the ledger of one lane."""

    produced: int = 0
    evicted: int = 0
    damaged: int = 0
    stored: int = 0
    quarantined: int = 0
    conflicts: int = 0
    duplicates: int = 0
    frames: int = 0
    last_seq: int = 0
    updated_us: int = 0

    def header(self, header: FrameHeader, received_us: int) -> None:
        """Take the device's cumulative counters; the highest are the newest."""
        self.produced = max(self.produced, header.ledger.produced)
        self.evicted = max(self.evicted, header.ledger.evicted)
        self.damaged = max(self.damaged, header.ledger.damaged)
        self.last_seq = max(self.last_seq, header.seq)
        self.updated_us = max(self.updated_us, received_us)


@dataclass(slots=True)
class _Batch:
    """What one transaction gathers before it writes."""

    db: sqlite3.Connection
    frames: list[NewFrame] = field(default_factory=list)
    lanes: dict[_Lane, _LaneSums] = field(default_factory=dict)
    touched: dict[_Lane, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def lane(self, key: _Lane) -> _LaneSums:
        """Return the sums of one lane."""
        return self.lanes.setdefault(key, _LaneSums())


class TelemetryWriter:
    """Commits batches; holds the committed ranges of the lanes that it met, so it must be the only writer."""

    def __init__(self, store: TelemetryStore) -> None:
        self._store = store
        self._ranges: dict[_Lane, Ranges] = {}

    def anchor(self, device: str, boot_id: bytes) -> Anchor | None:
        """Return how the times of one boot were placed so far."""
        with self._store.connection() as db:
            row = db.execute("SELECT * FROM boots WHERE device = ? AND boot_id = ?", (device, boot_id)).fetchone()
        return Anchor(row["offset_us"], Timing(row["timing"])) if row else None

    def commit(self, arrivals: Sequence[NewFrame | Spoiled]) -> list[Verdict]:
        """Store a batch and tell what became of each frame, in order; all of it or nothing."""
        try:
            with self._store.transaction() as db:
                batch = _Batch(db)
                verdicts = [self._take(batch, arrival) for arrival in arrivals]
                self._write(batch)
        except BaseException as exc:
            self._ranges.clear()  # they were changed ahead of a commit that did not happen
            if isinstance(exc, sqlite3.OperationalError):
                raise MachineLacks(
                    f"{self._store.path}: frames cannot be stored ({exc}); free some space or end what locks the file"
                ) from exc
            raise
        return verdicts

    def forget_frames(self, *, before_us: int) -> int:
        """Delete frames that arrived on days before; rollups, events, ledger and committed ranges stay."""
        with self._store.transaction() as db:
            return db.execute("DELETE FROM frames WHERE day < ?", (before_us // DAY_US,)).rowcount

    def _take(self, batch: _Batch, arrival: NewFrame | Spoiled) -> Verdict:
        if isinstance(arrival, Spoiled):
            return self._put_aside(batch, arrival)
        header = arrival.header
        key = (arrival.device, header.epoch_hex, str(header.lane))
        lane = batch.lane(key)
        lane.header(header, arrival.received_us)
        if self._add(batch, key, header.seq):
            lane.frames += 1
            lane.stored += header.count
            batch.frames.append(arrival)
            _insert_frame(batch.db, arrival)
            return _verdict(arrival, header, Outcome.STORED)
        if self._is_conflict(batch, key, arrival):
            return self._conflict(batch, arrival)
        lane.duplicates += 1
        return _verdict(arrival, header, Outcome.DUPLICATE)

    def _is_conflict(self, batch: _Batch, key: _Lane, arrival: NewFrame) -> bool:
        row = batch.db.execute(
            "SELECT sha256 FROM frames WHERE device = ? AND epoch = ? AND lane = ? AND seq = ?",
            (*key, arrival.header.seq),
        ).fetchone()
        if row is None:
            # What was committed under this key may stand in quarantine, for its body could not be read.
            row = batch.db.execute(
                "SELECT sha256 FROM quarantine WHERE device = ? AND epoch = ? AND lane = ? AND seq = ? AND reason != ?",
                (*key, arrival.header.seq, CONFLICT_CODE),
            ).fetchone()
        # Retention may have taken the bytes; then the key alone must do.
        return row is not None and row["sha256"] != _sha256(arrival.raw)

    def _conflict(self, batch: _Batch, arrival: NewFrame) -> Verdict:
        detail = f"{arrival.header.lane} seq {arrival.header.seq} was committed with other bytes"
        spoiled = Spoiled(arrival.device, arrival.raw, arrival.received_us, CONFLICT_CODE, detail, arrival.header)
        self._quarantine(batch, spoiled)
        return _verdict(arrival, arrival.header, Outcome.CONFLICT)

    def _put_aside(self, batch: _Batch, spoiled: Spoiled) -> Verdict:
        header = spoiled.header
        if header is None:
            self._quarantine(batch, spoiled)
            return Verdict(spoiled.device, Outcome.QUARANTINED)
        key = (spoiled.device, header.epoch_hex, str(header.lane))
        batch.lane(key).header(header, spoiled.received_us)
        self._quarantine(batch, spoiled)
        self._add(batch, key, header.seq)  # kept with its bytes, whatever else has come under this key
        return _verdict(spoiled, header, Outcome.QUARANTINED)

    def _quarantine(self, batch: _Batch, spoiled: Spoiled) -> None:
        header = spoiled.header
        inserted = batch.db.execute(
            "INSERT INTO quarantine (device, received_us, reason, detail, epoch, lane, seq, times, sha256, raw) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (device, sha256) DO UPDATE SET times = times + 1 "
            "RETURNING times",
            (
                spoiled.device, spoiled.received_us, spoiled.reason, spoiled.detail,
                header.epoch_hex if header else "", str(header.lane) if header else "", header.seq if header else 0,
                _sha256(spoiled.raw), spoiled.raw,
            ),
        ).fetchone()  # fmt: skip
        if inserted["times"] > 1:
            return  # a resend of bytes that are here already: one alarm is enough
        is_conflict = spoiled.reason == CONFLICT_CODE
        if header is not None:
            lane = batch.lane((spoiled.device, header.epoch_hex, str(header.lane)))
            lane.conflicts += header.count if is_conflict else 0
            lane.quarantined += 0 if is_conflict else header.count
        code = CONFLICT_CODE if is_conflict else QUARANTINE_CODE
        alarm = NewEvent(spoiled.received_us, code, {"reason": spoiled.reason, "detail": spoiled.detail})
        sums.insert_events(batch.db, spoiled.device, (alarm,), source="hub")

    def _add(self, batch: _Batch, key: _Lane, seq: int) -> bool:
        if key not in self._ranges:
            rows = batch.db.execute(
                "SELECT first, last FROM committed WHERE device = ? AND epoch = ? AND lane = ?", key
            ).fetchall()
            self._ranges[key] = Ranges((row["first"], row["last"]) for row in rows)
        ranges = self._ranges[key]
        before = ranges.intervals() if key not in batch.touched else ()
        added = ranges.add(seq)
        if added and key not in batch.touched:
            batch.touched[key] = before
        return added

    def _write(self, batch: _Batch) -> None:
        for key, before in batch.touched.items():
            _write_ranges(batch.db, key, set(before), set(self._ranges[key].intervals()))
        for key, lane in batch.lanes.items():
            _write_lane(batch.db, key, lane)
        sums.write_rollups(batch.db, ((f.device, rollup) for f in batch.frames for rollup in f.rollups))
        write_shadows(batch.db, ((f.device, hour) for f in batch.frames for hour in f.shadows))
        sums.write_drift(batch.db, ((f.device, counts) for f in batch.frames for counts in f.drift))
        for frame in batch.frames:
            sums.insert_events(batch.db, frame.device, frame.events, source="device")
            sums.insert_health(batch.db, frame.device, frame.health)
            _write_boot(batch.db, frame)


def _verdict(arrival: NewFrame | Spoiled, header: FrameHeader, outcome: Outcome) -> Verdict:
    return Verdict(arrival.device, outcome, header.epoch, header.lane, header.seq, checksum(arrival.raw))


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _insert_frame(db: sqlite3.Connection, frame: NewFrame) -> None:
    header = frame.header
    db.execute(
        "INSERT INTO frames (device, epoch, lane, seq, day, received_us, sha256, count, offset_us, timing, model, bundle, "
        "raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            frame.device, header.epoch_hex, str(header.lane), header.seq, frame.received_us // DAY_US,
            frame.received_us, _sha256(frame.raw), header.count, frame.anchor.offset_us, str(frame.anchor.timing),
            frame.model, frame.bundle, frame.raw,
        ),
    )  # fmt: skip


def _write_boot(db: sqlite3.Connection, frame: NewFrame) -> None:
    db.execute(
        "INSERT INTO boots VALUES (?, ?, ?, ?) ON CONFLICT (device, boot_id) DO UPDATE "
        "SET offset_us = excluded.offset_us, timing = excluded.timing",
        (frame.device, frame.header.boot_id, frame.anchor.offset_us, str(frame.anchor.timing)),
    )


def _write_ranges(
    db: sqlite3.Connection, key: _Lane, before: set[tuple[int, int]], after: set[tuple[int, int]]
) -> None:
    gone: Iterable[tuple[int, int]] = before - after
    db.executemany(
        "DELETE FROM committed WHERE device = ? AND epoch = ? AND lane = ? AND first = ?",
        [(*key, first) for first, _ in gone],
    )
    db.executemany("INSERT INTO committed VALUES (?, ?, ?, ?, ?)", [(*key, *interval) for interval in after - before])


def _write_lane(db: sqlite3.Connection, key: _Lane, lane: _LaneSums) -> None:
    db.execute(
        "INSERT INTO lanes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device, epoch, lane) DO UPDATE SET "
        "produced = max(produced, excluded.produced), evicted = max(evicted, excluded.evicted), "
        "damaged = max(damaged, excluded.damaged), stored = stored + excluded.stored, "
        "quarantined = quarantined + excluded.quarantined, conflicts = conflicts + excluded.conflicts, "
        "duplicates = duplicates + excluded.duplicates, "
        "frames = frames + excluded.frames, last_seq = max(last_seq, excluded.last_seq), "
        "updated_us = max(updated_us, excluded.updated_us)",
        (
            *key, lane.produced, lane.evicted, lane.damaged, lane.stored, lane.quarantined, lane.conflicts, lane.duplicates,
            lane.frames, lane.last_seq, lane.updated_us,
        ),
    )  # fmt: skip

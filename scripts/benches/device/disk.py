"""Bytes written to the disk in an hour at 10 predictions a second, on a clock that is moved by hand.

The recorder writes as on a device (default settings: a frame every 5 s, durable), the hub acks every frame; beside it
SQLite FULL commits the same predictions every 5 s and deletes them.

    disk.py BUNDLE ROWS SECONDS
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from pathlib import Path

from agent import rows_of
from spool import written

from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract.acks import Ack
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import ClockState
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.loop import Loop
from sprat_device.inference.session import Session
from sprat_device.inference.sources.replay import Replay
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool

HOUR_S = 3600
RATE_HZ = 10
COMMIT_S = 5
MIB = 1024 * 1024


class HandClock:
    """The device's clock, moved by hand."""

    boot_id = bytes(16)

    def __init__(self) -> None:
        self.now_us = 0

    def monotonic_us(self) -> int:
        """Return microseconds since the start."""
        return self.now_us

    def wall_us(self) -> int:
        """Return microseconds since 1970."""
        return 1_790_000_000_000_000 + self.now_us

    def state(self) -> ClockState:
        """Tell that it is set."""
        return ClockState.SYNCHRONISED


def main(bundle: Path, rows: Path, seconds: int) -> None:
    found = {}
    for name, side in (("agent", _agent), ("sqlite", _sqlite)):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            session = Session.open(bundle, cache=Path(folder) / "cache")
            before = written()
            side(session, rows, Path(folder), seconds)
            found[name] = (written() - before) / MIB * HOUR_S / seconds
    print(json.dumps(found))


def _agent(session: Session, rows: Path, folder: Path, seconds: int) -> None:
    clock, settings = HandClock(), TelemetrySettings()
    spool = DiskSpool(OsFiles(), folder / "spool", cap_bytes=settings.cap_bytes)
    recorder = Recorder(spool, clock, settings)
    loop = Loop(
        Replay(rows_of(rows, session), clock, loop=True), recorder, clock, lambda *_told: None,
        summary_interval_s=settings.summary_interval_s,
    )  # fmt: skip
    loop.swap(session, Origin(ModelName("digits"), 1, session.bundle_digest))
    for _ in range(seconds * RATE_HZ):
        clock.now_us += 1_000_000 // RATE_HZ
        loop.step(0)
        recorder.write()
        _ack_all(spool)
    spool.close()


def _ack_all(spool: DiskSpool) -> None:
    for log in spool.logs():
        if log.next_seq:
            spool.ack(Ack(log.epoch, log.lane, ((0, log.next_seq - 1),)))


def _sqlite(session: Session, rows: Path, folder: Path, seconds: int) -> None:
    inputs = rows_of(rows, session)
    some = len(next(iter(inputs.values())))
    db = sqlite3.connect(folder / "spool.db")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(
        "CREATE TABLE predictions (id INTEGER PRIMARY KEY, at_us INTEGER, label INTEGER, latency_us INTEGER, scores BLOB)"
    )
    for second in range(0, seconds, COMMIT_S):
        made = []
        for tick in range(COMMIT_S * RATE_HZ):
            index = second * RATE_HZ + tick
            answer = session.predict({name: array[index % some] for name, array in inputs.items()})
            prediction = Prediction(index, index, index, answer.label, answer.outputs, 50)
            made.append(
                (
                    prediction.index,
                    prediction.wall_us,
                    prediction.label,
                    prediction.latency_us,
                    prediction.outputs.tobytes(),
                )
            )
        with db:
            db.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?, ?)", made)
        with db:
            db.execute("DELETE FROM predictions")
    db.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

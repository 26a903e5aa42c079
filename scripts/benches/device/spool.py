"""Durable records a second of the spool, of a bare write + fdatasync loop, and of SQLite FULL, by turns, on the same disk.

A commit is one frame: as many 200 B records as its body of 64 KiB holds. Rates are of commits alone, an agent opens its
spool once in weeks; the bytes written are those of opening and closing too.

    spool.py ROUNDS COMMITS
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sprat_device.board.files import OsFiles
from sprat_device.contract.frame import MAX_BODY
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.telemetry.draft import Draft
from sprat_device.telemetry.spool import DiskSpool

RECORD = 200
PER_COMMIT = MAX_BODY // RECORD
BODY = os.urandom(RECORD * PER_COMMIT)
RECORDS = [(BODY[i * RECORD : (i + 1) * RECORD],) for i in range(PER_COMMIT)]


Commit = Callable[[], object]


def main(rounds: int, commits: int) -> None:
    rates: dict[str, list[float]] = {"spool": [], "bare": [], "sqlite": []}
    per_record: dict[str, list[float]] = {"spool": [], "sqlite": [], "bare": []}
    for _ in range(rounds):
        for name, side in (("spool", _spool), ("bare", _bare), ("sqlite", _sqlite)):
            with tempfile.TemporaryDirectory(dir=".") as folder:
                before = written()
                with side(Path(folder)) as commit:
                    begun = time.perf_counter()
                    for _ in range(commits):
                        commit()
                    rates[name].append(commits * PER_COMMIT / (time.perf_counter() - begun))
                per_record[name].append((written() - before) / (commits * PER_COMMIT))
    middle = {f"{name}_bytes": sorted(values)[len(values) // 2] for name, values in per_record.items()}
    print(json.dumps({"per_commit": PER_COMMIT, **rates, **middle}))


@contextmanager
def _spool(folder: Path) -> Iterator[Commit]:
    spool = DiskSpool(OsFiles(), folder / "spool", cap_bytes=2**31)
    draft = Draft(Lane.PREDICTIONS, PER_COMMIT, BODY, bytes(16), 1, 2, 3, 4, ClockState.SYNCHRONISED)
    yield lambda: spool.append(draft)
    spool.close()


@contextmanager
def _bare(folder: Path) -> Iterator[Commit]:
    handle = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def commit() -> None:
        os.write(handle, BODY)
        os.fdatasync(handle)

    yield commit
    os.close(handle)


@contextmanager
def _sqlite(folder: Path) -> Iterator[Commit]:
    db = sqlite3.connect(folder / "spool.db")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, body BLOB)")

    def commit() -> None:
        with db:
            db.executemany("INSERT INTO records (body) VALUES (?)", RECORDS)

    yield commit
    db.close()


def written() -> int:
    """Return the bytes that this process has sent to a disk so far, as the kernel counts them."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise ValueError("/proc/self/io: no write_bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

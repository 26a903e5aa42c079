"""Small spools for tests: a scenario's frames are tiny and its segments hold a few of them."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from sprat_device.board.files import Files, OsFiles
from sprat_device.contract.frame import open_frame
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.contract.records import Row, encode_rows
from sprat_device.telemetry.draft import Draft
from sprat_device.telemetry.spool import DiskSpool


def draft(lane: Lane = Lane.PREDICTIONS, *, count: int = 1, size: int = 40) -> Draft:
    """Make a draft whose body holds `count` rows."""
    body = encode_rows([Row("test", 1, 1, {"fill": random.Random(size).randbytes(size)})] * count)  # noqa: S311 - filler
    return Draft(lane, count, body, bytes(16), 1, 2, 3, 4, ClockState.SYNCHRONISED)


def open_spool(
    folder: Path,
    files: Files | None = None,
    *,
    cap_bytes: int = 1_000_000,
    segment_bytes: int = 1024,
    first_epoch: int = 1,
) -> DiskSpool:
    """Open a spool whose epochs count up."""
    epochs = itertools.count(first_epoch)
    return DiskSpool(
        files or OsFiles(), folder, cap_bytes=cap_bytes, segment_bytes=segment_bytes, draw_epoch=lambda: next(epochs)
    )


def waiting(spool: DiskSpool) -> dict[tuple[int, Lane, int], bytes]:
    """Return every waiting frame by its key, each proven whole and in its place."""
    found = {}
    for log in spool.logs():
        seq = 0
        while (entry := spool.peek(log.epoch, log.lane, start=seq, stop=log.next_seq)) is not None:
            header = open_frame(entry[1]).header
            assert (header.epoch, header.lane, header.seq) == (log.epoch, log.lane, entry[0])
            found[header.epoch, header.lane, header.seq] = entry[1]
            seq = entry[0] + 1
    return found


def disk_bytes(folder: Path) -> int:
    """Return what the spool's files take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

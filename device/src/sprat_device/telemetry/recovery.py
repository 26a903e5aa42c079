"""What a lane finds on its disk at start: its frames, and a ledger that balances again.

The latest of two witnesses counts, the checkpoint or the header of the last frame: both are snapshots of counters that
only rise. What they knew of and the disk no longer has is damaged.
"""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.frame import HEADER_SIZE, FrameHeader, Ledger
from sprat_device.contract.phases import Lane
from sprat_device.telemetry.checkpoint import Checkpoint
from sprat_device.telemetry.segment import Found, Segment, first_seq_of, scan

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """A lane as it was found; counters in records."""

    segments: list[Segment] = field(default_factory=list)
    next_seq: int = 0
    produced: int = 0
    acked: int = 0
    evicted: int = 0
    damaged: int = 0
    untold: tuple[tuple[int, int, int], ...] = ()


def recover(
    files: Files, folder: Path, *, epoch: int, lane: Lane, saved: Checkpoint, unreadable: bool = False
) -> Recovered:
    """Read the segments of a lane; nothing on the disk is changed.

    A worn block in a segment is an OSError, or with `unreadable` what that held is damaged.
    """
    last: FrameHeader | None = None
    segments: list[Segment] = []
    for path in files.list(folder):
        first_seq = first_seq_of(path)
        if first_seq is None:
            continue
        try:
            raw = files.read(path)
        except OSError as exc:
            if exc.errno != errno.EIO or not unreadable:
                raise
            _log.warning("spool: %s cannot be read (%s)", path, exc)
            continue
        segment = Segment(path, first_seq)
        for found in scan(raw, epoch=epoch, lane=lane, first_seq=first_seq):
            _index(segment, found, saved)
            last = found.header
        segment.size = len(raw)
        segments.append(segment)
    known = last.ledger if last is not None else Ledger()
    spooled = sum(segment.waiting_records for segment in segments)
    evicted = max(saved.evicted, known.evicted)
    accounted = saved.acked + evicted + spooled
    damaged = max(saved.damaged, max(saved.produced, known.produced) - accounted)
    if damaged > saved.damaged:
        _log.warning("spool: %d records of lane %s cannot be read", damaged - saved.damaged, lane)
    return Recovered(
        segments=segments,
        next_seq=max([saved.next_seq, *map(_behind, segments)]),
        produced=accounted + damaged,
        acked=saved.acked,
        evicted=evicted,
        damaged=damaged,
        untold=saved.untold,
    )


def _behind(segment: Segment) -> int:
    """Return a seq that no frame of a segment can have had: what cannot be read at its end may have been frames, too."""
    return segment.next_seq + (segment.size - segment.end) // HEADER_SIZE


def _index(segment: Segment, found: Found, saved: Checkpoint) -> None:
    seq = found.header.seq
    while segment.next_seq < seq:
        segment.add(segment.end, segment.end, count=0, waiting=False)
    waiting = seq >= saved.next_seq or any(first <= seq <= last for first, last in saved.waiting)
    segment.add(found.begin, found.end, count=found.header.count, waiting=waiting)

"""How a lane's log comes about: made empty, opened to go on, or salvaged to be sent and never added to.

Opening cuts the torn tail, and exposes no frame before it is on the disk. A lane whose checkpoint or a block is lost is
not opened: which seqs it used is not known, and a seq is never used twice.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError
from sprat_device.contract.phases import Lane
from sprat_device.telemetry import checkpoint
from sprat_device.telemetry.checkpoint import Checkpoint
from sprat_device.telemetry.lane_log import LaneLog
from sprat_device.telemetry.recovery import Recovered, recover
from sprat_device.telemetry.segment import Segment

_log: Final = logging.getLogger(__name__)


def create_lane(files: Files, folder: Path, *, epoch: int, lane: Lane, segment_bytes: int) -> LaneLog:
    """Make an empty lane, durably: from now on a missing checkpoint means damage, never a seq that starts anew."""
    log = LaneLog(files, folder, epoch=epoch, lane=lane, segment_bytes=segment_bytes)
    files.make_folder(folder)
    log.save()
    return log


def open_lane(files: Files, folder: Path, *, epoch: int, lane: Lane, segment_bytes: int) -> LaneLog:
    """Read a lane from disk and cut its torn tail; ContractError if its checkpoint or a block is lost."""
    state = folder / checkpoint.FILE_NAME
    try:
        raw = files.read(state)
        saved = checkpoint.parse(raw)
        found = recover(files, folder, epoch=epoch, lane=lane, saved=saved)
    except FileNotFoundError as exc:
        raise ContractError(f"{state}: is missing") from exc
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        # A worn block, which no later start can read either; which seqs it holds is not known.
        raise ContractError(f"{folder}: cannot be read ({exc})") from exc
    log = LaneLog(files, folder, epoch=epoch, lane=lane, segment_bytes=segment_bytes, found=found, state_bytes=len(raw))
    _keep_seq(log, saved.next_seq)
    _cut_tail(log, files, folder)
    log.remove_acked()
    return log


def salvage_lane(files: Files, folder: Path, *, epoch: int, lane: Lane, segment_bytes: int) -> LaneLog:
    """Read the frames of a lane that will never be appended to again; without a checkpoint all of them wait."""
    saved, found = Checkpoint(), Recovered()
    with contextlib.suppress(OSError, ContractError):
        saved = checkpoint.parse(files.read(folder / checkpoint.FILE_NAME))
    if files.exists(folder):
        found = recover(files, folder, epoch=epoch, lane=lane, saved=saved, unreadable=True)
    return LaneLog(files, folder, epoch=epoch, lane=lane, segment_bytes=segment_bytes, found=found)


def _keep_seq(log: LaneLog, saved: int) -> None:
    """Have the checkpoint tell the next seq where only what is cut off now could."""
    told = max([saved, *(segment.next_seq for segment in log.segments if segment.end)])
    if log.next_seq > told:
        try:
            log.save()
        except OSError as exc:
            _log.warning("spool: checkpoint of %s could not be written (%s), cutting its tail first", log.lane, exc)


def _cut_tail(log: LaneLog, files: Files, folder: Path) -> None:
    empty = [segment for segment in log.segments if not segment.end]
    log.segments = [segment for segment in log.segments if segment.end]
    for segment in empty:
        files.unlink(segment.path)
    if empty:
        files.sync_folder(folder)
    if log.segments:
        _make_sure(log.segments[-1], files, folder)


def _make_sure(tail: Segment, files: Files, folder: Path) -> None:
    if tail.size > tail.end:
        files.truncate(tail.path, tail.end)
        tail.size = tail.end
    # After kill -9 a frame can be read back that never reached the disk: sync before it is exposed.
    file = files.append(tail.path)
    try:
        file.sync()
    finally:
        file.close()
    files.sync_folder(folder)

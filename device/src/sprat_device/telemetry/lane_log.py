"""The log of one lane in one epoch: segments, their index and the lane's counters.

A frame is exposed only after fdatasync of its bytes and, in a new segment, fsync of the folder. A segment goes only
after a checkpoint says that it may. At open: a torn tail is cut, what the checkpoint or a frame knew of and the disk
no longer has is counted as damaged, and the next seq is above everything that ever was.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sprat_device.board.files import Appender, Files
from sprat_device.contract.errors import ContractError
from sprat_device.contract.frame import FrameHeader, Ledger, open_frame, seal
from sprat_device.contract.phases import Lane
from sprat_device.contract.twin import LaneReport
from sprat_device.telemetry import checkpoint
from sprat_device.telemetry.checkpoint import Checkpoint
from sprat_device.telemetry.draft import Draft, Gap
from sprat_device.telemetry.recovery import Recovered, recover
from sprat_device.telemetry.segment import Segment, first_seq_of, name

_STATE: Final = "state"
_STATE_BYTES: Final = 1024
"""Room that is counted for a lane's checkpoint and its successor while both exist."""
_ACKS_UNSAVED: Final = 64
"""So many acks may be forgotten by a power cut: their frames are sent again, and the hub knows them."""
_OWN: Final = frozenset({_STATE, f".{_STATE}.new"})
_log: Final = logging.getLogger(__name__)


class LaneLog:
    """One lane of one epoch; `segments` are in order, the last one is being written."""

    def __init__(self, files: Files, folder: Path, *, epoch: int, lane: Lane, segment_bytes: int) -> None:
        self.epoch = epoch
        self.lane = lane
        self.segments: list[Segment] = []
        self._given_up: list[Segment] = []
        """Whose files are still on the disk."""
        self.next_seq = 0
        self._files = files
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._produced = self._acked = self._evicted = self._damaged = 0
        self._writing: Appender | None = None
        self._name_synced = True
        self._torn = False
        self._state_bytes = 0
        self._acks_unsaved = 0
        self._unsaved = False
        """Frames were given up and no checkpoint says so: a frame whose counters do must not reach the disk before one."""
        self._save_fails = False

    @classmethod
    def create(cls, files: Files, folder: Path, *, epoch: int, lane: Lane, segment_bytes: int) -> LaneLog:
        """Make an empty lane, durably: from now on a missing checkpoint means damage, never a seq that starts anew."""
        log = cls(files, folder, epoch=epoch, lane=lane, segment_bytes=segment_bytes)
        files.make_folder(folder)
        log.save()
        return log

    @classmethod
    def open(cls, files: Files, folder: Path, *, epoch: int, lane: Lane, segment_bytes: int) -> LaneLog:
        """Read a lane from disk and cut its torn tail; ContractError if its checkpoint or a block is lost."""
        log = cls(files, folder, epoch=epoch, lane=lane, segment_bytes=segment_bytes)
        try:
            raw = files.read(folder / _STATE)
            saved = checkpoint.parse(raw)
            log._state_bytes = len(raw)
            log._take(recover(files, folder, epoch=epoch, lane=lane, saved=saved))
        except FileNotFoundError as exc:
            raise ContractError(f"{folder / _STATE}: is missing") from exc
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise
            # A worn block, which no later start can read either; which seqs it holds is not known.
            raise ContractError(f"{folder}: cannot be read ({exc})") from exc
        log._keep_seq(saved.next_seq)
        log._cut_tail()
        return log

    @classmethod
    def salvage(cls, files: Files, folder: Path, *, epoch: int, lane: Lane, segment_bytes: int) -> LaneLog:
        """Read the frames of a lane that will never be appended to again; without a checkpoint all of them wait."""
        log = cls(files, folder, epoch=epoch, lane=lane, segment_bytes=segment_bytes)
        saved = Checkpoint()
        with contextlib.suppress(OSError, ContractError):
            saved = checkpoint.parse(files.read(folder / _STATE))
        if files.exists(folder):
            log._take(recover(files, folder, epoch=epoch, lane=lane, saved=saved, unreadable=True))
        return log

    @property
    def size_bytes(self) -> int:
        """Return what the lane takes on the disk, its checkpoint included."""
        held = sum(segment.size for segment in self.segments) + sum(segment.size for segment in self._given_up)
        runs = sum(segment.run_count for segment in self.segments)
        following = checkpoint.most_bytes(runs, next_seq=self.next_seq)
        return held + max(_STATE_BYTES, self._state_bytes + following)

    @property
    def waiting_records(self) -> int:
        """Return the records that the hub has not acked."""
        return sum(segment.waiting_records for segment in self.segments)

    def report(self) -> LaneReport:
        """Return the lane's ledger."""
        return LaneReport(
            epoch=f"{self.epoch:016x}", produced=self._produced, acked=self._acked, spooled=self.waiting_records, open=0,
            evicted=self._evicted, damaged=self._damaged,
        )  # fmt: skip

    def drop(self, records: int) -> None:
        """Count records that never reached the log."""
        self._produced += records
        self._evicted += records

    def append(self, draft: Draft) -> None:
        """Seal and store one frame, durably; OSError means that nothing was stored."""
        if self._unsaved:
            self.save()
        raw = self._sealed(draft)
        if self._torn:
            self._cut_back()
        segment = self._writable(len(raw))
        try:
            self._store(segment, raw)
        except OSError:
            self._cut_back()
            raise
        segment.add(segment.size, segment.size + len(raw), count=draft.count, waiting=True)
        self.next_seq += 1
        self._produced += draft.count

    def peek(self, start: int, stop: int) -> tuple[int, bytes] | None:
        """Return the first waiting frame with start <= seq < stop that can be read."""
        for segment in self.segments:
            while segment.next_seq > start:
                seq = segment.next_waiting(start)
                if seq is None:
                    break
                if seq >= stop:
                    return None
                raw = self._read(segment, seq)
                if raw is not None:
                    return seq, raw
                start = seq + 1
        return None

    def ack(self, ranges: Iterable[tuple[int, int]]) -> int:
        """Free frames that the hub has; return how many records that were."""
        freed = 0
        for first, last in ranges:
            freed += sum(segment.settle(first, last) for segment in self.segments)
        self._acked += freed
        self._acks_unsaved += bool(freed)
        finished = [segment for segment in self.segments[:-1] if not segment.waiting_records]
        if finished:
            self._remove(finished)
        elif self._acks_unsaved >= _ACKS_UNSAVED:
            self.save()
        return freed

    def evict(self, first_seq: int) -> Gap | None:
        """Give up a segment whether the hub has it or not, and return what is lost by it; `sweep` removes its file."""
        segment = next(segment for segment in self.segments if segment.first_seq == first_seq)
        runs = list(segment.runs())
        lost = segment.settle(segment.first_seq, segment.next_seq)
        self._evicted += lost
        if segment is self.segments[-1]:
            self._finish_writing()
        self._give_up([segment])
        return Gap(self.lane, self.epoch, runs[0][0], runs[-1][1], lost) if lost else None

    def sweep(self) -> None:
        """Remove the files of what was given up; after an OSError the next sweep goes on with what is left."""
        if not self._given_up:
            return
        try:
            self.save()
        except OSError as exc:
            # A full disk: make room first. A power cut right here would count these frames as damaged, not as gone.
            if not self._save_fails:  # once until it works again: a sick disk must not fill the log as well
                _log.warning(
                    "spool: checkpoint of %s could not be written (%s), removing segments first", self.lane, exc
                )
            self._save_fails = True
            self._unlink_given_up(keep_last=not any(segment.end for segment in self.segments))
            self.save()
        else:
            self._unlink_given_up()

    def save(self) -> None:
        """Write the checkpoint."""
        state = Checkpoint(
            self.next_seq, self._produced, self._acked, self._evicted, self._damaged,
            tuple(run for segment in self.segments for run in segment.runs()),
        ).dump()  # fmt: skip
        self._files.write_atomic(self._folder / _STATE, state)
        self._state_bytes = len(state)
        self._acks_unsaved = 0
        self._unsaved = self._save_fails = False

    def close(self) -> None:
        """Write the checkpoint and let go of the files."""
        self._finish_writing()
        self.save()

    def remove_folder(self) -> None:
        """Remove a lane that nobody needs any more: segments first, its checkpoint last; what is not ours stays."""
        if not self._files.exists(self._folder):
            return
        ours = [path for path in self._files.list(self._folder) if path.name in _OWN or first_seq_of(path) is not None]
        for path in sorted(ours, key=lambda path: path.name == _STATE):
            self._files.unlink(path)
        self._files.sync_folder(self._folder)
        remove_if_empty(self._files, self._folder)

    def _sealed(self, draft: Draft) -> bytes:
        ledger = Ledger(self._produced + draft.count, self._acked, self._evicted, self._damaged)
        header = FrameHeader(
            lane=self.lane, epoch=self.epoch, seq=self.next_seq, count=draft.count, boot_id=draft.boot_id,
            mono_first_us=draft.mono_first_us, mono_last_us=draft.mono_last_us, wall_first_us=draft.wall_first_us,
            wall_last_us=draft.wall_last_us, clock=draft.clock, ledger=ledger,
        )  # fmt: skip
        return seal(header, draft.body)

    def _store(self, segment: Segment, raw: bytes) -> None:
        if self._writing is None:
            self._name_synced = self._name_synced and self._files.exists(segment.path)
            self._writing = self._files.append(segment.path)
        self._writing.write(raw)
        self._writing.sync()
        if not self._name_synced:
            self._files.sync_folder(self._folder)
            self._name_synced = True

    def _writable(self, size: int) -> Segment:
        tail = self.segments[-1] if self.segments else None
        if tail is not None and tail.next_seq == self.next_seq and tail.size + size <= self._segment_bytes:
            return tail
        if tail is not None and not tail.size:
            return tail  # a frame greater than a segment has one of its own
        self._finish_writing()
        if tail is not None and not tail.waiting_records:
            self._remove([tail])
        self.segments.append(Segment(self._folder / name(self.next_seq), self.next_seq))
        return self.segments[-1]

    def _cut_back(self) -> None:
        """Cut what a failed write left behind the last whole frame, else it could look like a frame after a reboot."""
        self._torn = True
        path = self.segments[-1].path
        if self._files.exists(path):
            self._files.truncate(path, self.segments[-1].size)
        self._torn = False

    def _finish_writing(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def _remove(self, segments: list[Segment]) -> None:
        self._give_up(segments)
        self.sweep()

    def _give_up(self, segments: list[Segment]) -> None:
        self.segments = [segment for segment in self.segments if segment not in segments]
        self._given_up += segments
        self._unsaved = True

    def _unlink_given_up(self, *, keep_last: bool = False) -> None:
        """Remove files; with `keep_last` not the one from which alone a start could tell which seqs were used."""
        while len(self._given_up) > keep_last:
            path = self._given_up[0].path
            if self._files.exists(path):
                self._files.unlink(path)
            del self._given_up[0]
        self._files.sync_folder(self._folder)

    def _read(self, segment: Segment, seq: int) -> bytes | None:
        begin, end = segment.place(seq)
        try:
            with self._files.open_read(segment.path) as file:
                file.seek(begin)
                return open_frame(file.read(end - begin)).raw
        except (ContractError, OSError) as exc:
            _log.warning("spool: frame %s/%d is damaged (%s), skipped", self.lane, seq, exc)
            self._damaged += segment.settle(seq, seq)
            return None

    def _take(self, found: Recovered) -> None:
        self.segments = found.segments
        self.next_seq = found.next_seq
        self._produced, self._acked = found.produced, found.acked
        self._evicted, self._damaged = found.evicted, found.damaged

    def _keep_seq(self, saved: int) -> None:
        """Have the checkpoint tell the next seq where only what is cut off now could."""
        told = max([saved, *(segment.next_seq for segment in self.segments if segment.end)])
        if self.next_seq > told:
            try:
                self.save()
            except OSError as exc:
                _log.warning(
                    "spool: checkpoint of %s could not be written (%s), cutting its tail first", self.lane, exc
                )

    def _cut_tail(self) -> None:
        empty = [segment for segment in self.segments if not segment.end]
        self.segments = [segment for segment in self.segments if segment.end]
        for segment in empty:
            self._files.unlink(segment.path)
        if empty:
            self._files.sync_folder(self._folder)
        if self.segments:
            self._make_sure(self.segments[-1])
        finished = [segment for segment in self.segments[:-1] if not segment.waiting_records]
        if finished:
            self._remove(finished)

    def _make_sure(self, tail: Segment) -> None:
        if tail.size > tail.end:
            self._files.truncate(tail.path, tail.end)
            tail.size = tail.end
        # After kill -9 a frame can be read back that never reached the disk: sync before it is exposed.
        file = self._files.append(tail.path)
        try:
            file.sync()
        finally:
            file.close()
        self._files.sync_folder(self._folder)


def remove_if_empty(files: Files, folder: Path) -> None:
    """Remove a folder unless it holds what is not the spool's: an editor's backup, a file system's lost+found."""
    try:
        files.remove_folder(folder)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _log.warning("spool: %s stays, for it holds something else than frames", folder)

"""The log of one lane in one epoch: segments, their index and the lane's counters.

A frame is exposed only after it is on the disk (`tail.py`); a segment goes only after a checkpoint says that it may
(`given_up.py`); a seq is never used twice. How a log is made or read from the disk is in `lane_opening.py`.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError
from sprat_device.contract.frame import FrameHeader, Ledger, open_frame, seal
from sprat_device.contract.phases import Lane
from sprat_device.contract.twin import LaneReport
from sprat_device.telemetry import checkpoint
from sprat_device.telemetry.checkpoint import Checkpoint
from sprat_device.telemetry.draft import Draft, Gap
from sprat_device.telemetry.given_up import GivenUp
from sprat_device.telemetry.recovery import Recovered
from sprat_device.telemetry.segment import Segment, first_seq_of, name
from sprat_device.telemetry.tail import Tail

_STATE_BYTES: Final = 1024
"""Room that is counted for a lane's checkpoint and its successor while both exist."""
_ACKS_UNSAVED: Final = 64
"""So many acks may be forgotten by a power cut: their frames are sent again, and the hub knows them."""
_LOST: Final = frozenset({errno.EIO, errno.ENOENT, errno.EBADMSG, errno.EUCLEAN})
"""By these the disk says that a frame is no more; a machine out of memory or descriptors says nothing of it, and that passes."""
_log: Final = logging.getLogger(__name__)


class LaneLog:
    """One lane of one epoch; `segments` are in order, the last one is being written."""

    def __init__(
        self,
        files: Files,
        folder: Path,
        *,
        epoch: int,
        lane: Lane,
        segment_bytes: int,
        found: Recovered | None = None,
        state_bytes: int = 0,
    ) -> None:
        """Go on from what was `found`, by default nothing; `state_bytes`: what its checkpoint takes."""
        found = found or Recovered()
        self.epoch = epoch
        self.lane = lane
        self.segments = found.segments
        self.next_seq = found.next_seq
        self._files = files
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._produced, self._acked = found.produced, found.acked
        self._evicted, self._damaged = found.evicted, found.damaged
        self.untold = [Gap(lane, epoch, *gap) for gap in found.untold]
        """What was evicted, until a record that tells it is on the disk."""
        self._tail = Tail(files, folder)
        self._given_up = GivenUp(files, folder, lane, save=self.save)
        self._state_bytes = state_bytes
        self._acks_unsaved = 0

    @property
    def size_bytes(self) -> int:
        """Return what the lane takes on the disk, its checkpoint included."""
        held = sum(segment.size for segment in self.segments) + self._given_up.size_bytes
        runs = sum(segment.run_count for segment in self.segments)
        # Each segment may become a gap: an eviction makes room, also where the checkpoint grows by it.
        gaps = len(self.untold) + len(self.segments)
        following = checkpoint.most_bytes(runs, gaps=gaps, next_seq=self.next_seq)
        return held + max(_STATE_BYTES, max(self._state_bytes, following) + following)

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
        if self._given_up.unsaved:
            self.save()
        raw = self._sealed(draft)
        self._tail.mend()
        segment = self._writable(len(raw))
        self._tail.store(segment, raw)
        segment.add(segment.size, segment.size + len(raw), count=draft.count, waiting=True)
        self.next_seq += 1
        self._produced += draft.count

    def peek(self, start: int, stop: int) -> tuple[int, bytes] | None:
        """Return the first waiting frame with start <= seq < stop; one that is lost is skipped, OSError says not now."""
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
        if not self.remove_acked() and self._acks_unsaved >= _ACKS_UNSAVED:
            self.save()
        return freed

    def remove_acked(self) -> bool:
        """Remove the segments, the last one excepted, of which nothing waits; tell whether there were any."""
        finished = [segment for segment in self.segments[:-1] if not segment.waiting_records]
        if finished:
            self._remove(finished)
        return bool(finished)

    def evict(self, first_seq: int) -> Gap | None:
        """Give up a segment whether the hub has it or not, and return what is lost by it; `sweep` removes its file."""
        segment = next(segment for segment in self.segments if segment.first_seq == first_seq)
        runs = list(segment.runs())
        lost = segment.settle(segment.first_seq, segment.next_seq)
        self._evicted += lost
        if segment is self.segments[-1]:
            self._tail.finish()
        self._give_up([segment])
        if not lost:
            return None
        self.untold.append(gap := Gap(self.lane, self.epoch, runs[0][0], runs[-1][1], lost))
        return gap

    def told(self, gap: Gap) -> None:
        """Forget a gap with the next checkpoint: none is written for it, and the hub takes a gap told twice for one."""
        if gap in self.untold:
            self.untold.remove(gap)

    def sweep(self) -> None:
        """Remove the files of what was given up; after an OSError the next sweep goes on with what is left."""
        self._given_up.sweep(self.segments)

    def save(self) -> None:
        """Write the checkpoint."""
        state = Checkpoint(
            self.next_seq, self._produced, self._acked, self._evicted, self._damaged,
            tuple(run for segment in self.segments for run in segment.runs()),
            tuple((gap.first_seq, gap.last_seq, gap.records) for gap in self.untold),
        ).dump()  # fmt: skip
        self._files.write_atomic(self._folder / checkpoint.FILE_NAME, state)
        self._state_bytes = len(state)
        self._acks_unsaved = 0
        self._given_up.saved()

    def close(self) -> None:
        """Write the checkpoint and let go of the files."""
        self._tail.finish()
        self.save()

    def remove_folder(self) -> None:
        """Remove a lane that nobody needs any more: segments first, its checkpoint last; what is not ours stays."""
        if not self._files.exists(self._folder):
            return
        ours = [
            path
            for path in self._files.list(self._folder)
            if path.name in checkpoint.FILES or first_seq_of(path) is not None
        ]
        for path in sorted(ours, key=lambda path: path.name == checkpoint.FILE_NAME):
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

    def _writable(self, size: int) -> Segment:
        tail = self.segments[-1] if self.segments else None
        if tail is not None and tail.next_seq == self.next_seq and tail.size + size <= self._segment_bytes:
            return tail
        if tail is not None and not tail.size:
            return tail  # a frame greater than a segment has one of its own
        self._tail.finish()
        if tail is not None and not tail.waiting_records:
            self._remove([tail])
        self.segments.append(Segment(self._folder / name(self.next_seq), self.next_seq))
        return self.segments[-1]

    def _remove(self, segments: list[Segment]) -> None:
        self._give_up(segments)
        self.sweep()

    def _give_up(self, segments: list[Segment]) -> None:
        self.segments = [segment for segment in self.segments if segment not in segments]
        self._given_up.add(segments)

    def _read(self, segment: Segment, seq: int) -> bytes | None:
        begin, end = segment.place(seq)
        try:
            with self._files.open_read(segment.path) as file:
                file.seek(begin)
                return open_frame(file.read(end - begin)).raw
        except (ContractError, OSError) as exc:
            if isinstance(exc, OSError) and exc.errno not in _LOST:
                raise
            _log.warning("spool: frame %s/%d is damaged (%s), skipped", self.lane, seq, exc)
            self._damaged += segment.settle(seq, seq)
            return None


def remove_if_empty(files: Files, folder: Path) -> None:
    """Remove a folder unless it holds what is not the spool's: an editor's backup, a file system's lost+found."""
    try:
        files.remove_folder(folder)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _log.warning("spool: %s stays, for it holds something else than frames", folder)

"""Frames on the device's disk that wait for the hub's ack: one log per lane, under one cap.

Rules: what `append` returned from is on the disk; it leaves only by an ack or as a Gap, which is returned again after
each start until it was `told`; a seq is never used twice in an epoch; all that the spool keeps on the disk stays within
the cap. An epoch is a random number made with the spool; the frames of an earlier one are sent as they are and never
added to.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypedDict

from sprat_device.board.files import Files
from sprat_device.contract.acks import Ack
from sprat_device.contract.errors import ContractError, MachineLacks
from sprat_device.contract.frame import HEADER_SIZE
from sprat_device.contract.phases import Lane
from sprat_device.contract.twin import LaneReport
from sprat_device.telemetry import epochs
from sprat_device.telemetry.draft import Draft, Gap
from sprat_device.telemetry.lane_log import LaneLog, remove_if_empty
from sprat_device.telemetry.lane_opening import create_lane, open_lane, salvage_lane
from sprat_device.telemetry.retention import SegmentFacts, to_evict

_SEGMENTS: Final = 64
_SMALLEST_SEGMENT: Final = 64 * 1024
_GREATEST_SEGMENT: Final = 1024 * 1024
_log: Final = logging.getLogger(__name__)


class SpoolFull(MachineLacks):
    """A frame does not fit under the cap without pushing out what is worth more."""


@dataclass(frozen=True, slots=True)
class LogState:
    """One log that the uplink may read: frames of `epoch` and `lane` below `next_seq`."""

    epoch: int
    lane: Lane
    next_seq: int


class Spool(Protocol):
    """What the recorder and the uplink ask of a spool; safe to call from both their threads."""

    def append(self, draft: Draft) -> tuple[Gap, ...]:
        """Store one frame durably and return what was evicted for it; OSError or SpoolFull: nothing was stored.

        The first one also returns what was evicted before the start and was not `told`.
        """

    def told(self, gaps: Iterable[Gap]) -> None:
        """Let go of gaps: the records that tell them are on the disk."""

    def drop(self, lane: Lane, records: int) -> None:
        """Count records that were produced and cannot be stored."""

    def logs(self) -> tuple[LogState, ...]:
        """Return the logs, earlier epochs first."""

    def peek(self, epoch: int, lane: Lane, *, start: int, stop: int) -> tuple[int, bytes] | None:
        """Return (seq, frame) of the first waiting frame with start <= seq < stop."""

    def ack(self, ack: Ack) -> int:
        """Free what the hub has; return how many records that were."""

    def new_epoch(self) -> None:
        """Begin a new epoch; what waits in the old one is still sent."""

    def ledger(self) -> dict[Lane, LaneReport]:
        """Return the ledger of each lane of the current epoch."""

    def close(self) -> None:
        """Write what makes the next start quick, and let go of the files."""


class _Place(TypedDict):
    files: Files
    folder: Path
    epoch: int
    lane: Lane
    segment_bytes: int


def _segment_bytes(cap_bytes: int) -> int:
    """Return the size of a file: each costs two syncs of its folder, and what is evicted is evicted by files."""
    return min(max(cap_bytes // _SEGMENTS, _SMALLEST_SEGMENT), _GREATEST_SEGMENT)


class DiskSpool:
    """The spool in one folder; a single process may have it open."""

    def __init__(
        self,
        files: Files,
        folder: Path,
        *,
        cap_bytes: int,
        segment_bytes: int | None = None,
        draw_epoch: Callable[[], int] = epochs.draw,
    ) -> None:
        self._files = files
        self._folder = folder
        self._cap_bytes = cap_bytes
        self._segment_bytes = _segment_bytes(cap_bytes) if segment_bytes is None else segment_bytes
        self._draw_epoch = draw_epoch
        self._lock = threading.RLock()
        self._lanes: dict[Lane, LaneLog] = {}
        self._earlier: list[LaneLog] = []
        self._to_tell: list[Gap] = []
        """Of evictions for a frame that the disk then did not take, or before the start."""
        self._open()

    def append(self, draft: Draft) -> tuple[Gap, ...]:
        """Store one frame durably and return what was evicted for it."""
        with self._lock:
            log = self._lanes[draft.lane]
            self._make_room(HEADER_SIZE + len(draft.body), draft.lane)
            log.append(draft)
            gaps, self._to_tell = tuple(self._to_tell), []
            return gaps

    def told(self, gaps: Iterable[Gap]) -> None:
        """Let go of gaps: the records that tell them are on the disk."""
        with self._lock:
            for gap in gaps:
                if (log := self._find(gap.epoch, gap.lane)) is not None:
                    log.told(gap)

    def drop(self, lane: Lane, records: int) -> None:
        """Count records that were produced and cannot be stored."""
        with self._lock:
            self._lanes[lane].drop(records)

    def logs(self) -> tuple[LogState, ...]:
        """Return the logs, earlier epochs first."""
        with self._lock:
            return tuple(LogState(log.epoch, log.lane, log.next_seq) for log in self._all())

    def peek(self, epoch: int, lane: Lane, *, start: int, stop: int) -> tuple[int, bytes] | None:
        """Return (seq, frame) of the first waiting frame with start <= seq < stop."""
        with self._lock:
            log = self._find(epoch, lane)
            return log.peek(start, stop) if log is not None else None

    def ack(self, ack: Ack) -> int:
        """Free what the hub has; return how many records that were."""
        with self._lock:
            log = self._find(ack.epoch, ack.lane)
            freed = log.ack(ack.ranges) if log is not None else 0
            self._remove_drained()
            return freed

    def new_epoch(self) -> None:
        """Begin a new epoch; what waits in the old one is still sent."""
        with self._lock:
            for log in self._lanes.values():
                log.close()
            lanes = self._create_epoch()  # first: a disk that refuses it leaves the old epoch in use, and whole
            self._earlier += self._lanes.values()
            self._lanes = lanes
            self._remove_drained()

    def ledger(self) -> dict[Lane, LaneReport]:
        """Return the ledger of each lane of the current epoch."""
        with self._lock:
            return {lane: log.report() for lane, log in self._lanes.items()}

    def size_bytes(self) -> int:
        """Return what the spool keeps on the disk."""
        with self._lock:
            return epochs.FILE_BYTES + sum(log.size_bytes for log in self._all())

    def close(self) -> None:
        """Write the checkpoints and let go of the files."""
        with self._lock:
            for log in self._all():
                log.close()

    def _all(self) -> Iterator[LaneLog]:
        yield from self._earlier
        yield from self._lanes.values()

    def _find(self, epoch: int, lane: Lane) -> LaneLog | None:
        return next((log for log in self._all() if (log.epoch, log.lane) == (epoch, lane)), None)

    def _make_room(self, size: int, incoming: Lane) -> None:
        if self.size_bytes() + size <= self._cap_bytes:
            return
        logs = list(self._all())
        for log in logs:  # before anything else is given up: what a failing disk did not let go of
            log.sweep()
        need = self.size_bytes() + size - self._cap_bytes
        if need <= 0:
            return
        generation = {id(log): i // len(Lane) for i, log in enumerate(logs)}
        facts = {
            SegmentFacts(log.lane, generation[id(log)], segment.first_seq, segment.size, segment.waiting_records): log
            for log in logs
            for segment in log.segments
        }
        chosen = to_evict(facts, need_bytes=need, incoming=incoming)
        if chosen is None:
            raise SpoolFull(
                f"spool: no room for {size} bytes of {incoming} under the cap of {self._cap_bytes}; raise telemetry.cap_bytes"
            )
        for segment in chosen:
            if (gap := facts[segment].evict(segment.first_seq)) is not None:
                self._to_tell.append(gap)
        for log in logs:
            log.sweep()
        self._remove_drained()

    def _open(self) -> None:
        self._files.make_folder(self._folder)
        current = epochs.read(self._files, self._folder)
        if current is not None:
            try:
                self._lanes = {lane: open_lane(**self._place(current, lane)) for lane in Lane}
            except ContractError as exc:
                _log.warning("spool: a new epoch begins, for the seq of the old one is no longer known (%s)", exc)
        for epoch in epochs.on_disk(self._files, self._folder):
            if not self._lanes or epoch != current:
                self._earlier += [salvage_lane(**self._place(epoch, lane)) for lane in Lane]
        if not self._lanes:
            self._lanes = self._create_epoch()
        self._remove_drained()
        self._to_tell = [gap for log in self._all() for gap in log.untold]

    def _create_epoch(self) -> dict[Lane, LaneLog]:
        epoch = self._draw_epoch()
        lanes = {lane: create_lane(**self._place(epoch, lane)) for lane in Lane}
        epochs.write(self._files, self._folder, epoch)
        return lanes

    def _place(self, epoch: int, lane: Lane) -> _Place:
        folder = epochs.folder_of(self._folder, epoch) / lane
        return {
            "files": self._files, "folder": folder, "epoch": epoch, "lane": lane, "segment_bytes": self._segment_bytes,
        }  # fmt: skip

    def _remove_drained(self) -> None:
        needed = {log.epoch for log in self._earlier if log.waiting_records or log.untold}
        for epoch in {log.epoch for log in self._earlier} - needed:
            for log in [log for log in self._earlier if log.epoch == epoch]:
                log.remove_folder()
            remove_if_empty(self._files, epochs.folder_of(self._folder, epoch))
            self._files.sync_folder(self._folder)
            self._earlier = [log for log in self._earlier if log.epoch != epoch]

"""The ledger of a spool on a disk that refuses, flips bits and loses the process, in any order, against a model of a few lines."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.faults.disk import SickDisk
from tests.spools import disk_bytes, draft, open_spool, waiting

from sprat_device.contract.acks import Ack
from sprat_device.contract.frame import HEADER_SIZE
from sprat_device.contract.phases import Lane
from sprat_device.telemetry.draft import Gap
from sprat_device.telemetry.spool import DiskSpool, SpoolFull

Key = tuple[int, Lane, int]
CAP = 14_000


class FailingDisk(SickDisk):
    """A disk that does `spare` more changes before it ails, so that it fails in the midst of things too."""

    spare = 0

    def sync_folder(self, path: Path) -> None:
        """Make the names of a folder durable."""
        self._well()
        super().sync_folder(path)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        self._well()
        super().remove_folder(path)

    def _well(self) -> None:
        if self.ail is not None and self.spare > 0:
            self.spare -= 1
            return
        super()._well()


class Ledgers(RuleBasedStateMachine):
    """What was appended is waiting, acked, told as evicted, or damaged by us; nothing is counted twice."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        for sync in ("fsync", "fdatasync"):  # nothing here cuts the power
            self.patch.setattr(os, sync, lambda _fd: None)
        self.opened = 0
        self.frames: dict[Key, int] = {}  # all that was ever stored
        self.safe: dict[Key, int] = {}  # of it what must still wait
        self.ghosts: dict[Key, int] = {}  # refused, and yet whole on a disk that then would not cut them off
        self.harmed: set[Key] = set()
        self.produced: Counter[tuple[int, Lane]] = Counter()
        self.given_up: Counter[tuple[int, Lane]] = Counter()
        self.gaps: set[Gap] = set()
        self.open()

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    def open(self) -> None:
        self.opened += 1
        self.disk = FailingDisk()
        self.spool: DiskSpool = open_spool(
            self.folder, self.disk, cap_bytes=CAP, segment_bytes=700, first_epoch=1000 * self.opened
        )
        self.killed = self.opened > 1

    @rule(lane=st.sampled_from(list(Lane)), count=st.integers(1, 4), size=st.sampled_from([1, 200, 600]))
    def append(self, lane: Lane, count: int, size: int) -> None:
        log = next(log for log in reversed(self.spool.logs()) if log.lane is lane)
        self.produced[log.epoch, lane] += count
        try:
            gaps = self.spool.append(draft(lane, count=count, size=size))
        except (SpoolFull, OSError):
            self.spool.drop(lane, count)
            self.given_up[log.epoch, lane] += count
            self.ghosts[log.epoch, lane, log.next_seq] = count
            return
        self.told(gaps)
        key = (log.epoch, lane, log.next_seq)
        assert key not in self.frames, "a seq was used twice"
        self.frames[key] = self.safe[key] = count

    def told(self, gaps: tuple[Gap, ...]) -> None:
        for gap in set(gaps) - self.gaps:
            self.given_up[gap.epoch, gap.lane] += gap.records
            inside = [k for k in self.safe if k[:2] == (gap.epoch, gap.lane) and gap.first_seq <= k[2] <= gap.last_seq]
            lost = sum(self.safe.pop(key) for key in inside)
            unsure = sum(self.frames[key] for key in inside if key in self.harmed)
            assert gap.records >= lost - unsure
        self.gaps |= set(gaps)

    @rule()
    def tell(self) -> None:
        self.spool.told(self.gaps)

    @precondition(lambda self: self.safe)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        epoch, lane, seq = data.draw(st.sampled_from(sorted(self.safe)))
        last = seq + data.draw(st.integers(0, 5))
        for key in [key for key in self.safe if key[:2] == (epoch, lane) and seq <= key[2] <= last]:
            del self.safe[key]
        try:
            self.spool.ack(Ack(epoch, lane, ((seq, last),)))
        except OSError:
            assert self.disk.ail is not None

    @rule(ail=st.sampled_from([errno.ENOSPC, errno.EROFS, errno.EIO]), spare=st.integers(0, 6))
    def fall_ill(self, ail: int, spare: int) -> None:
        self.disk.ail, self.disk.spare = ail, spare

    @rule()
    def recover(self) -> None:
        self.disk.ail = None

    @precondition(lambda self: self.safe)
    @rule(data=st.data())
    def flip_a_bit(self, data: st.DataObject) -> None:
        epoch, lane, seq = data.draw(st.sampled_from(sorted(self.safe)))
        paths = [p for p in (self.folder / f"{epoch:016x}" / lane).glob("*.seg") if int(p.stem) <= seq]
        if not paths:
            return
        path = max(paths, key=lambda path: int(path.stem))
        raw = bytearray(path.read_bytes())
        if len(raw) <= HEADER_SIZE:
            return
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(raw)
        first = int(path.stem)
        followers = [int(p.stem) for p in path.parent.glob("*.seg") if int(p.stem) > first]
        self.harmed |= {
            key for key in self.frames
            if key[:2] == (epoch, lane) and first <= key[2] < min(followers, default=2**63)
        }  # fmt: skip

    @rule(clean=st.booleans())
    def end(self, clean: bool) -> None:
        if clean:
            try:
                self.spool.close()
            except OSError:
                assert self.disk.ail is not None
        self.open()

    @rule()
    def new_epoch(self) -> None:
        before = self.spool.logs()[-1].epoch
        try:
            self.spool.new_epoch()
        except OSError:
            assert self.disk.ail is not None
            assert self.spool.logs()[-1].epoch == before

    @invariant()
    def the_cap_is_held(self) -> None:
        assert disk_bytes(self.folder) <= CAP

    @invariant()
    def what_was_stored_waits_or_was_given_up(self) -> None:
        found = waiting(self.spool)
        assert found.keys() <= self.frames.keys() | self.ghosts.keys()
        untold = {
            (gap.epoch, gap.lane, seq) for gap in self.spool._to_tell for seq in range(gap.first_seq, gap.last_seq + 1)
        }
        assert self.safe.keys() - found.keys() <= self.harmed | untold

    @invariant()
    def the_ledger_balances_and_counts_nothing_twice(self) -> None:
        for lane, report in self.spool.ledger().items():
            assert report.balanced(), (lane, report)
            place = int(report.epoch, 16), lane
            if not self.killed:
                assert report.produced == self.produced[place]
                untold = sum(gap.records for gap in self.spool._to_tell if (gap.epoch, gap.lane) == place)
                assert report.evicted == self.given_up[place] + untold, (lane, report)
            twice = sum(count for key, count in self.ghosts.items() if key[:2] == place) if self.opened > 1 else 0
            assert report.produced <= self.produced[place] + twice, (lane, report)
            if not self.harmed:
                stored = sum(count for key, count in self.frames.items() if key[:2] == place)
                assert report.produced >= stored, (lane, report)


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_what_a_sick_disk_does_not_let_go_counts_and_goes_when_it_is_well(tmp_path: Path) -> None:
    disk = SickDisk()
    spool = open_spool(tmp_path, disk, segment_bytes=400)
    for _ in range(8):
        spool.append(draft())
    disk.ail = errno.EROFS
    with pytest.raises(OSError, match="Read-only"):
        spool.ack(Ack(1, Lane.PREDICTIONS, ((0, 4),)))
    assert spool.size_bytes() >= disk_bytes(tmp_path)
    disk.ail = None
    spool.ack(Ack(1, Lane.PREDICTIONS, ((5, 5),)))
    assert [int(path.stem) for path in sorted(tmp_path.rglob("predictions/*.seg"))] == [6, 7]


def test_a_disk_too_full_for_a_checkpoint_keeps_what_tells_the_next_seq(tmp_path: Path) -> None:
    class NoRoom(SickDisk):
        def write_atomic(self, path: Path, data: bytes) -> None:
            if self.ail is not None:
                raise OSError(self.ail, "No space left on device")
            super().write_atomic(path, data)

        def _well(self) -> None:
            """Refuse nothing else."""

    disk = NoRoom()
    spool = open_spool(tmp_path, disk, cap_bytes=8000, segment_bytes=100_000)
    for _ in range(8):
        spool.append(draft())
    disk.ail = errno.ENOSPC
    with pytest.raises(OSError, match="No space"):
        spool.append(draft(Lane.EVENTS, size=2500))  # gives up the only segment of the predictions
    again = open_spool(tmp_path, first_epoch=7)  # after kill -9
    again.append(draft())
    assert max(waiting(again)) >= (1, Lane.PREDICTIONS, 8)


def test_an_epoch_that_the_disk_does_not_take_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    disk = FailingDisk()
    spool = open_spool(tmp_path, disk)
    spool.append(draft())
    disk.ail, disk.spare = errno.ENOSPC, 20  # enough for the old epoch's checkpoints
    with pytest.raises(OSError, match="No space"):
        spool.new_epoch()
    disk.ail = None
    assert spool.ack(Ack(1, Lane.PREDICTIONS, ((0, 0),))) == 1
    spool.append(draft())
    assert list(waiting(spool)) == [(1, Lane.PREDICTIONS, 1)]

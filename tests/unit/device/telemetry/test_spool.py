from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.faults.disk import CuttingFiles, FullDisk
from tests.spools import disk_bytes, draft, open_spool, waiting

from sprat_device.board.files import Appender, OsFiles
from sprat_device.contract.acks import Ack
from sprat_device.contract.frame import HEADER_SIZE, open_frame
from sprat_device.contract.phases import Lane
from sprat_device.telemetry.draft import Gap
from sprat_device.telemetry.spool import DiskSpool, SpoolFull

Key = tuple[int, Lane, int]


def test_a_spool_goes_on_where_it_was_closed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for _ in range(10):
        spool.append(draft())
    spool.ack(Ack(1, Lane.PREDICTIONS, ((2, 3), (9, 9))))
    spool.close()
    again = open_spool(tmp_path, first_epoch=7)
    assert [seq for _, _, seq in waiting(again)] == [0, 1, 4, 5, 6, 7, 8]
    assert again.ledger() == spool.ledger()
    assert again.ledger()[Lane.PREDICTIONS].acked == 3


def test_seq_goes_on_when_a_lane_is_empty(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=300)
    for _ in range(4):
        spool.append(draft())
    spool.ack(Ack(1, Lane.PREDICTIONS, ((0, 3),)))
    spool.close()
    again = open_spool(tmp_path, first_epoch=7)
    again.append(draft())
    assert list(waiting(again)) == [(1, Lane.PREDICTIONS, 4)]


def test_the_cap_holds_while_scattered_acks_make_the_checkpoint_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Measured(OsFiles):
        peak = 0

        def rename(self, source: Path, target: Path) -> None:
            self.peak = max(self.peak, disk_bytes(tmp_path))  # the old checkpoint and the new one
            super().rename(source, target)

    monkeypatch.setattr(os, "fdatasync", lambda _fd: None)  # how much, not how safe
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    files = Measured()
    spool = open_spool(tmp_path, files, cap_bytes=500_000, segment_bytes=16_384)
    for seq in range(2600):
        spool.append(draft(size=1))
        if seq % 2:
            spool.ack(Ack(1, Lane.PREDICTIONS, ((seq, seq),)))
    assert 450_000 < files.peak <= 500_000


@pytest.mark.parametrize(("cap_bytes", "most"), [(1 << 20, 64 << 10), (16 << 20, 256 << 10), (1 << 30, 1 << 20)])
def test_segments_are_a_part_of_the_cap_so_that_an_eviction_gives_up_little(
    tmp_path: Path, cap_bytes: int, most: int
) -> None:
    spool = DiskSpool(OsFiles(), tmp_path, cap_bytes=cap_bytes)
    one = draft(size=60_000)
    frame = HEADER_SIZE + len(one.body)
    for _ in range(most // frame + 1):
        spool.append(one)
    spool.close()
    assert sorted(path.stat().st_size for path in tmp_path.rglob("*.seg")) == [frame, most // frame * frame]


def test_a_kill_forgets_a_bounded_number_of_acks(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=1_000_000)
    for _ in range(200):
        spool.append(draft())
    for seq in range(190):
        spool.ack(Ack(1, Lane.PREDICTIONS, ((seq, seq),)))
    assert len(waiting(open_spool(tmp_path, first_epoch=7))) < 10 + 64


def test_acks_of_frames_that_do_not_exist_change_nothing(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append(draft())
    for ack in (
        Ack(1, Lane.PREDICTIONS, ((1, 2**62),)),
        Ack(2, Lane.PREDICTIONS, ((0, 0),)),
        Ack(1, Lane.EVENTS, ((0, 9),)),
    ):
        assert spool.ack(ack) == 0
    spool.append(draft())
    assert len(waiting(spool)) == 2
    assert spool.ack(Ack(1, Lane.PREDICTIONS, ((0, 2**62),))) == 2


def test_a_damaged_frame_is_skipped_and_counted(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=100_000)
    for _ in range(5):
        spool.append(draft(count=2))
    spool.close()
    (path,) = tmp_path.rglob("*predictions/*.seg")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert [seq for _, _, seq in waiting(spool)] == [0, 1, 3, 4]  # found while running
    assert spool.ledger()[Lane.PREDICTIONS].damaged == 2
    again = open_spool(tmp_path, first_epoch=7)
    assert [seq for _, _, seq in waiting(again)] == [0, 1, 3, 4]  # and at the next start
    report = again.ledger()[Lane.PREDICTIONS]
    assert (report.damaged, report.produced) == (2, 10)
    assert report.balanced()


def test_junk_at_the_end_is_cut_and_no_seq_that_it_may_have_had_is_used(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append(draft())
    spool.close()
    (path,) = tmp_path.rglob("*predictions/*.seg")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"SPRF" + bytes(500))
    again = open_spool(tmp_path, first_epoch=7)
    assert path.stat().st_size == size
    again.append(draft())
    assert [seq for _, _, seq in waiting(again)] == [0, 1 + 504 // HEADER_SIZE]


def test_a_damaged_frame_that_is_a_lanes_only_one_keeps_its_seq(tmp_path: Path) -> None:
    open_spool(tmp_path).append(draft())  # and killed
    (path,) = tmp_path.rglob("*predictions/*.seg")
    raw = bytearray(path.read_bytes())
    raw[0] ^= 1
    path.write_bytes(raw)
    open_spool(tmp_path, first_epoch=7)  # and killed again, after it cut the damage off
    again = open_spool(tmp_path, first_epoch=8)
    again.append(draft())
    assert all(key[:2] == (1, Lane.PREDICTIONS) and key[2] > 0 for key in waiting(again))


@pytest.mark.parametrize("harm", ["remove", "damage"])
def test_a_lost_checkpoint_begins_a_new_epoch_and_old_frames_are_still_sent(tmp_path: Path, harm: str) -> None:
    spool = open_spool(tmp_path)
    for _ in range(3):
        spool.append(draft())
    spool.close()
    path = tmp_path / f"{1:016x}" / "predictions" / "state"
    path.unlink() if harm == "remove" else path.write_bytes(b"00000000 {}")
    again = open_spool(tmp_path, first_epoch=7)
    again.append(draft())
    assert list(waiting(again)) == [(1, Lane.PREDICTIONS, seq) for seq in range(3)] + [(7, Lane.PREDICTIONS, 0)]
    again.ack(Ack(1, Lane.PREDICTIONS, ((0, 2),)))
    assert not (tmp_path / f"{1:016x}").exists()


def test_what_was_evicted_for_a_frame_that_the_disk_did_not_take_is_told_with_the_next(tmp_path: Path) -> None:
    class Failing(OsFiles):
        fails = False

        def append(self, path: Path) -> Appender:
            if self.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return super().append(path)

    files = Failing()
    spool = open_spool(tmp_path, files, cap_bytes=12_000, segment_bytes=200)
    while not (gaps := spool.append(draft(size=1000))):
        pass
    told = list(gaps)
    files.fails = True
    with pytest.raises(OSError, match="Input/output error"):
        spool.append(draft(size=1000))
    files.fails = False
    told += spool.append(draft(size=10))
    assert sum(gap.records for gap in told) == spool.ledger()[Lane.PREDICTIONS].evicted == 2
    assert spool.append(draft(size=10)) == ()


def test_a_gap_outlives_its_epoch_until_it_is_told(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, cap_bytes=12_000)
    while not (gaps := spool.append(draft(size=200))):
        pass
    spool.new_epoch()
    spool.ack(Ack(1, Lane.PREDICTIONS, ((0, 99),)))
    assert [log.epoch for log in spool.logs()] == [1] * 4 + [2] * 4  # nothing of it waits
    again = open_spool(tmp_path, cap_bytes=12_000, first_epoch=7)  # after kill -9
    assert again.append(draft()) == gaps
    again.told(gaps)
    again.ack(Ack(2, Lane.PREDICTIONS, ((0, 0),)))
    assert not (tmp_path / f"{1:016x}").exists()
    assert open_spool(tmp_path, cap_bytes=12_000, first_epoch=8).append(draft()) == ()


@pytest.mark.parametrize("version", ["earlier", "later"])
def test_a_checkpoint_of_another_version_is_read(tmp_path: Path, version: str) -> None:
    spool = open_spool(tmp_path, cap_bytes=8_000)
    while not (gaps := spool.append(draft(size=200))):
        pass
    spool.close()
    path = tmp_path / f"{1:016x}" / "predictions" / "state"
    document = json.loads(path.read_bytes().partition(b" ")[2])
    (gap,) = gaps
    assert document["untold"] == [[gap.first_seq, gap.last_seq, gap.records]]
    if version == "earlier":
        del document["untold"]
    else:
        document["untold"][0].append("why")
        document["mood"] = "good"
    plain = json.dumps(document).encode()
    path.write_bytes(b"%08x %s" % (zlib.crc32(plain), plain))
    again = open_spool(tmp_path, cap_bytes=8_000, first_epoch=7)
    assert waiting(again) == waiting(spool)
    assert again.append(draft(Lane.EVENTS, size=1)) == (() if version == "earlier" else gaps)


@pytest.mark.parametrize("fails", ["write_atomic", "unlink"])
def test_what_was_evicted_while_the_disk_failed_is_told_and_leaves_the_disk_later(tmp_path: Path, fails: str) -> None:
    class Failing(OsFiles):
        broken = False

        def write_atomic(self, path: Path, data: bytes) -> None:
            self._refuse("write_atomic")
            super().write_atomic(path, data)

        def unlink(self, path: Path) -> None:
            self._refuse("unlink")
            super().unlink(path)

        def _refuse(self, what: str) -> None:
            if self.broken and what == fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    files = Failing()
    spool = open_spool(tmp_path, files, cap_bytes=8_000)
    files.broken = True
    refused = 0
    for _ in range(60):
        try:
            assert spool.append(draft()) == ()
        except OSError:
            refused += 1
            spool.drop(Lane.PREDICTIONS, 1)
    assert refused
    assert disk_bytes(tmp_path) <= 8_000
    files.broken = False
    gaps = spool.append(draft())
    report = spool.ledger()[Lane.PREDICTIONS]
    assert report.balanced()
    assert sum(gap.records for gap in gaps) == report.evicted - refused > 0
    on_disk = {int(path.stem) for path in tmp_path.rglob("predictions/*.seg")}
    assert not on_disk & {gap.first_seq for gap in gaps}


def test_what_is_not_the_spools_stays_and_keeps_nothing_from_going_on(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append(draft())
    old = tmp_path / f"{1:016x}"
    (tmp_path / "lost+found").mkdir()
    (tmp_path / f"{15:016x}").write_text("a file by the name of an epoch")
    (old / "lost+found").mkdir()
    (old / "predictions" / "state~").write_text("an editor's backup")
    (old / "predictions" / "notes").mkdir()
    spool.new_epoch()
    spool.append(draft())
    assert spool.ack(Ack(1, Lane.PREDICTIONS, ((0, 0),))) == 1
    assert list(waiting(spool)) == [(2, Lane.PREDICTIONS, 0)]
    spool.close()
    again = open_spool(tmp_path, first_epoch=7)
    assert list(waiting(again)) == [(2, Lane.PREDICTIONS, 0)]
    assert {path.name for path in old.rglob("*")} == {"lost+found", "predictions", "state~", "notes"}


@pytest.mark.parametrize("where", ["state", "00000000000000000000.seg", "00000000000000000006.seg", "epoch.json"])
def test_a_worn_block_begins_a_new_epoch_and_costs_what_it_held(tmp_path: Path, where: str) -> None:
    class Worn(OsFiles):
        def read(self, path: Path) -> bytes:
            if path.name == where and "events" not in path.parts:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return super().read(path)

    spool = open_spool(tmp_path)
    for _ in range(9):
        spool.append(draft(size=150))
    before = waiting(spool)
    worn = open_spool(tmp_path, Worn(), first_epoch=2)
    worn.append(draft())
    found = waiting(worn)
    assert [log.epoch for log in worn.logs()][-1] == 2
    assert (2, Lane.PREDICTIONS, 0) in found
    lost = before.keys() - found.keys()
    assert bool(lost) == where.endswith(".seg")
    assert len(lost) < len(before)
    assert all(report.balanced() for report in worn.ledger().values())
    worn.close()


def test_a_copied_card_can_begin_a_new_epoch(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append(draft())
    spool.new_epoch()
    spool.append(draft())
    assert [key[0] for key in waiting(spool)] == [1, 2]
    assert spool.ledger()[Lane.PREDICTIONS].produced == 1
    spool.close()
    assert [key[0] for key in waiting(open_spool(tmp_path, first_epoch=7))] == [1, 2]


def test_events_push_out_predictions_and_never_the_reverse(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, cap_bytes=10_000)
    gaps = [gap for _ in range(60) for gap in spool.append(draft())]
    assert {gap.lane for gap in gaps} == {Lane.PREDICTIONS}
    gaps = [gap for _ in range(14) for gap in spool.append(draft(Lane.EVENTS))]
    assert {gap.lane for gap in gaps} == {Lane.PREDICTIONS}
    with pytest.raises(SpoolFull):
        spool.append(draft(Lane.CAPTURES, size=9000))
    assert sum(key[1] is Lane.EVENTS for key in waiting(spool)) == 14
    assert disk_bytes(tmp_path) <= 10_000


def test_a_full_disk_stores_nothing_by_halves(tmp_path: Path) -> None:
    disk = FullDisk(room=100_000)
    spool = open_spool(tmp_path, disk)
    spool.append(draft())
    disk.room = 30
    with pytest.raises(OSError, match="No space"):
        spool.append(draft())
    assert list(waiting(spool)) == [(1, Lane.PREDICTIONS, 0)]
    disk.room = 100_000
    spool.append(draft())
    assert list(waiting(open_spool(tmp_path, first_epoch=7))) == [(1, Lane.PREDICTIONS, seq) for seq in range(2)]


def test_an_ack_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    disk = FullDisk(room=100_000)
    spool = open_spool(tmp_path, disk)
    for _ in range(20):
        spool.append(draft())
    disk.room = 0
    spool.ack(Ack(1, Lane.PREDICTIONS, ((0, 15),)))
    assert disk.room > 1000
    assert len(waiting(open_spool(tmp_path, first_epoch=7))) == 4


class SpoolLife(RuleBasedStateMachine):
    """Any order of appends, acks, drops, restarts, kills and new epochs, against a model of a few lines."""

    CAP = 7_000

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.epochs = 1
        self.safe: dict[Key, int] = {}
        self.gaps: set[Gap] = set()
        self.untold: set[Gap] = set()
        self.open()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def open(self) -> None:
        self.spool: DiskSpool = open_spool(
            self.folder, CuttingFiles(), cap_bytes=self.CAP, first_epoch=1000 * self.epochs
        )
        self.epochs += 1
        self.to_return, self.untold = self.untold, set()

    @rule(times=st.integers(4, 12))
    def evict(self, times: int) -> None:
        for _ in range(times):
            self._append(Lane.PREDICTIONS, 2, 400)

    @rule(lane=st.sampled_from(list(Lane)), count=st.integers(1, 4), size=st.sampled_from([1, 40, 200]))
    def append(self, lane: Lane, count: int, size: int) -> None:
        self._append(lane, count, size)

    def _append(self, lane: Lane, count: int, size: int) -> None:
        log = next(log for log in reversed(self.spool.logs()) if log.lane is lane)
        try:
            gaps = self.spool.append(draft(lane, count=count, size=size))
        except SpoolFull:
            return
        assert self.to_return <= set(gaps)
        self.to_return = set()
        self.untold |= set(gaps)
        for gap in set(gaps) - self.gaps:
            gone = [
                key for key in self.safe if key[:2] == (gap.epoch, gap.lane) and gap.first_seq <= key[2] <= gap.last_seq
            ]
            assert sum(self.safe.pop(key) for key in gone) == gap.records
        self.gaps |= set(gaps)
        self.safe[log.epoch, lane, log.next_seq] = count

    @precondition(lambda self: self.safe)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        epoch, lane, seq = data.draw(st.sampled_from(sorted(self.safe)))
        last = seq + data.draw(st.integers(0, 6))
        gone = [key for key in self.safe if key[:2] == (epoch, lane) and seq <= key[2] <= last]
        assert self.spool.ack(Ack(epoch, lane, ((seq, last),))) == sum(self.safe.pop(key) for key in gone)

    @rule(lane=st.sampled_from(list(Lane)), records=st.integers(1, 9))
    def drop(self, lane: Lane, records: int) -> None:
        self.spool.drop(lane, records)

    @rule()
    def tell(self) -> None:
        self.spool.told(self.untold)
        self.untold = set()

    @rule()
    def restart(self) -> None:
        self.spool.close()
        self.open()

    @rule()
    def kill(self) -> None:
        self.open()
        for key in waiting(self.spool):  # an ack may be forgotten, then the frame is sent again
            self.safe.setdefault(key, 0)
        self.safe = {key: _records(self.spool, key) for key in self.safe}

    @rule()
    def new_epoch(self) -> None:
        self.spool.new_epoch()

    @invariant()
    def nothing_is_lost(self) -> None:
        assert waiting(self.spool).keys() == self.safe.keys()

    @invariant()
    def the_cap_is_held(self) -> None:
        assert disk_bytes(self.folder) <= self.CAP

    @invariant()
    def the_ledger_balances(self) -> None:
        for lane, report in self.spool.ledger().items():
            assert report.balanced()
            assert report.damaged == 0
            current = int(report.epoch, 16)
            assert report.spooled == sum(n for key, n in self.safe.items() if key[:2] == (current, lane))


def _records(spool: DiskSpool, key: Key) -> int:
    entry = spool.peek(key[0], key[1], start=key[2], stop=key[2] + 1)
    assert entry is not None, f"lost: {key}"
    return open_frame(entry[1]).header.count


TestSpoolLife = SpoolLife.TestCase
TestSpoolLife.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)

"""The power is cut at every single write of a spool's life, with unsynced writes lost, torn or kept; then it boots.

After every cut: what `append` returned from is still there unless acked or evicted, what was evicted and not told comes
back as a gap, no seq is used twice, the cap is held, the ledger balances and nothing counts as damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.faults.disk import CuttingFiles, Loss, PowerCut
from tests.spools import disk_bytes, draft, open_spool, waiting

from sprat_device.board.files import OsFiles
from sprat_device.contract.acks import Ack
from sprat_device.contract.frame import open_frame
from sprat_device.contract.phases import Lane
from sprat_device.telemetry.draft import Gap
from sprat_device.telemetry.spool import DiskSpool

pytestmark = pytest.mark.faults
CAP = 11_000
DROPPED = 5
Key = tuple[int, Lane, int]


@dataclass
class Witness:
    """What the outside world saw before the cut."""

    frames: dict[Key, bytes] = field(default_factory=dict)
    """All frames that were exposed, so that a hub may hold them."""
    safe: set[Key] = field(default_factory=set)
    """Those that must still be in the spool."""
    unsure: set[Key] = field(default_factory=set)
    """Those that an ack under way was about to free."""
    untold: set[Gap] = field(default_factory=set)
    """Gaps that `append` returned and no frame tells yet."""
    told: set[Gap] = field(default_factory=set)

    def see_newest(self, spool: DiskSpool, lane: Lane) -> None:
        log = next(log for log in reversed(spool.logs()) if log.lane is lane)
        entry = spool.peek(log.epoch, lane, start=log.next_seq - 1, stop=log.next_seq)
        assert entry is not None
        key = (log.epoch, lane, entry[0])
        assert self.frames.setdefault(key, entry[1]) == entry[1], f"{key} was used for two frames"
        self.safe.add(key)


def _append(spool: DiskSpool, seen: Witness, lane: Lane, times: int) -> None:
    for _ in range(times):
        gaps = spool.append(draft(lane, count=3))
        seen.untold |= set(gaps)
        seen.safe -= _covered(gaps)
        seen.see_newest(spool, lane)


def _covered(gaps: Iterable[Gap]) -> set[Key]:
    return {(gap.epoch, gap.lane, seq) for gap in gaps for seq in range(gap.first_seq, gap.last_seq + 1)}


def _tell(spool: DiskSpool, seen: Witness) -> None:
    gaps = set(seen.untold)
    _append(spool, seen, Lane.EVENTS, 1)  # in the place of the records that tell them
    seen.told |= gaps
    seen.untold -= gaps
    spool.told(gaps)


def _ack(spool: DiskSpool, seen: Witness, epoch: int, lane: Lane, run: tuple[int, int]) -> None:
    first, last = run
    keys = {(epoch, lane, seq) for seq in range(first, last + 1)}
    seen.unsure = keys & seen.safe
    spool.ack(Ack(epoch, lane, (run,)))
    # An ack may be forgotten by a cut, never half of the ledger: such a frame is sent again and the hub knows it.
    seen.safe -= keys
    seen.unsure.clear()


def _life(spool: DiskSpool, seen: Witness) -> None:
    epoch = spool.logs()[-1].epoch
    _append(spool, seen, Lane.EVENTS, 2)
    _append(spool, seen, Lane.PREDICTIONS, 9)
    _ack(spool, seen, epoch, Lane.PREDICTIONS, (4, 6))  # live frames are acked before the backlog
    _ack(spool, seen, epoch, Lane.PREDICTIONS, (0, 3))
    _append(spool, seen, Lane.SUMMARIES, 4)
    _ack(spool, seen, epoch, Lane.SUMMARIES, (0, 3))
    spool.drop(Lane.PREDICTIONS, DROPPED)
    for _ in range(2):
        _append(spool, seen, Lane.PREDICTIONS, 16)  # over the cap: evicts
        _tell(spool, seen)
    _append(spool, seen, Lane.PREDICTIONS, 8)
    assert len(seen.told) > 1
    assert seen.untold
    spool.close()


def _reborn(spool: DiskSpool, seen: Witness) -> None:
    spool.new_epoch()
    epoch = spool.logs()[-1].epoch
    _append(spool, seen, Lane.PREDICTIONS, 3)
    for log in spool.logs():
        if log.epoch != epoch:
            _ack(spool, seen, log.epoch, log.lane, (0, log.next_seq))
    _append(spool, seen, Lane.EVENTS, 2)


def _verify(folder: Path, seen: Witness) -> None:
    spool = open_spool(folder, OsFiles(), cap_bytes=CAP, first_epoch=900)
    found = waiting(spool)
    safe, untold, seen.untold = set(seen.safe), seen.untold, set()
    for key in found.keys() & seen.frames.keys():
        assert found[key] == seen.frames[key]
    _append(spool, seen, Lane.EVENTS, 1)
    assert untold <= seen.untold, "a gap that nobody told is forgotten"
    missing = safe - seen.unsure - found.keys() - _covered(seen.untold)
    assert not missing, f"lost: {sorted(missing)}"
    _append(spool, seen, Lane.PREDICTIONS, 1)  # no seq that was exposed before may hold other bytes
    assert disk_bytes(folder) <= CAP
    gaps = seen.told | seen.untold
    assert not _covered(gaps) & waiting(spool).keys()
    for lane, report in spool.ledger().items():
        assert report.balanced(), (lane, report)
        assert report.damaged == 0, (lane, report)
        evicted = sum(gap.records for gap in gaps if (gap.lane, f"{gap.epoch:016x}") == (lane, report.epoch))
        assert report.evicted - evicted in ((0, DROPPED) if lane is Lane.PREDICTIONS else (0,)), (lane, report)
    spool.told(gaps)
    spool.close()
    again = open_spool(folder, OsFiles(), cap_bytes=CAP, first_epoch=950)
    assert waiting(again) == waiting(spool)
    assert again.ledger() == spool.ledger()
    assert not gaps & set(again.append(draft(Lane.EVENTS)))
    again.close()


Life = Callable[[DiskSpool, Witness], None]


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("life", [_life, _reborn])
def test_every_cut_of_a_spools_life(tmp_path: Path, loss: Loss, life: Life) -> None:
    lives = [_life] if life is _life else [_prepared, _reborn]
    counting = CuttingFiles()
    _run(tmp_path / "whole", counting, lives, Witness())
    assert counting.operations > 60
    for n in range(1, counting.operations + 1):
        folder = tmp_path / str(n)
        seen = Witness()
        with pytest.raises(PowerCut):
            _run(folder, CuttingFiles(n, loss=loss), lives, seen)
        _verify(folder, seen)


def _prepared(spool: DiskSpool, seen: Witness) -> None:
    _append(spool, seen, Lane.PREDICTIONS, 6)
    _ack(spool, seen, spool.logs()[-1].epoch, Lane.PREDICTIONS, (0, 1))


def _run(folder: Path, files: CuttingFiles, lives: list[Life], seen: Witness) -> None:
    spool = open_spool(folder, files, cap_bytes=CAP)
    for life in lives:
        life(spool, seen)
    spool.close()


@pytest.mark.parametrize("loss", Loss)
def test_every_cut_of_a_boot_after_a_cut(tmp_path: Path, loss: Loss) -> None:
    """Recovery writes too: cut it at each of its writes, boot again."""
    for first_cut in range(40, 200, 23):
        seen = Witness()
        origin = tmp_path / f"{first_cut}"
        with pytest.raises(PowerCut):
            _run(origin, CuttingFiles(first_cut, loss=loss), [_life], seen)
        n = 0
        while True:
            n += 1
            try:
                open_spool(origin, CuttingFiles(n, loss=loss), cap_bytes=CAP, first_epoch=500 + n).close()
            except PowerCut:
                continue
            break
        _verify(origin, seen)


def test_a_frame_header_carries_a_ledger_that_balances(tmp_path: Path) -> None:
    seen = Witness()
    spool = open_spool(tmp_path / "s", cap_bytes=CAP)
    _life(spool, seen)
    header = open_frame(waiting(spool)[max(key for key in seen.safe if key[1] is Lane.PREDICTIONS)]).header
    report = spool.ledger()[Lane.PREDICTIONS]
    assert header.ledger.produced == report.produced
    assert header.ledger.evicted == report.evicted > 5

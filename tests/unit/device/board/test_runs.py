"""How the last run ended, told from what it wrote and from the boot id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.faults.disk import CuttingFiles, FullDisk, Loss, PowerCut

from sprat_device.board.files import OsFiles
from sprat_device.board.runs import End, Runs

BOOT, NEXT_BOOT = bytes(16), bytes([1] * 16)


def _begun(state: Path, boot: bytes = BOOT) -> Runs:
    runs = Runs(state, OsFiles(), boot_id=boot)
    runs.begin()
    return runs


def test_the_first_run_has_none_before(tmp_path: Path) -> None:
    runs = _begun(tmp_path)
    assert (runs.last_end, runs.this.starts, runs.this.crashes) == (End.NONE, 1, 0)


@pytest.mark.parametrize(
    ("end", "boot", "told", "crashes"),
    [
        (End.CLEAN, BOOT, End.CLEAN, 0),
        (End.CLEAN, NEXT_BOOT, End.CLEAN, 0),
        (End.RESTART, BOOT, End.RESTART, 0),
        (End.CRASH, BOOT, End.CRASH, 1),
        (None, BOOT, End.KILLED, 1),
        (None, NEXT_BOOT, End.POWER_CUT, 0),
    ],
)
def test_an_end_is_told_by_the_next_run(tmp_path: Path, end: End | None, boot: bytes, told: End, crashes: int) -> None:
    before = _begun(tmp_path)
    if end is not None:
        before.end(end, "why\n it ended")
    after = _begun(tmp_path, boot)
    assert (after.last_end, after.this.starts, after.this.crashes) == (told, 2, crashes)
    assert after.last_detail == ("why it ended" if end else "")


def test_crashes_add_up_and_clean_ends_leave_them(tmp_path: Path) -> None:
    for end in (End.CRASH, End.CLEAN, End.CRASH, End.CLEAN):
        _begun(tmp_path).end(end)
    assert (_begun(tmp_path).this.crashes, _begun(tmp_path).this.starts) == (2, 6)


def test_a_damaged_record_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "runs.json").write_text("{")
    assert _begun(tmp_path).this.starts == 1
    document = json.loads((tmp_path / "runs.json").read_text())
    (tmp_path / "runs.json").write_text(json.dumps(document | {"end": "exploded"}))
    assert _begun(tmp_path).this.starts == 1


@pytest.mark.parametrize("loss", Loss)
def test_a_cut_while_it_is_written_leaves_one_of_the_two(tmp_path: Path, loss: Loss) -> None:
    counting = CuttingFiles()
    Runs(tmp_path / "counted", counting, boot_id=BOOT)
    (tmp_path / "counted").mkdir()
    Runs(tmp_path / "counted", counting, boot_id=BOOT).begin()
    for n in range(1, counting.operations + 1):
        folder = tmp_path / str(n)
        folder.mkdir()
        _begun(folder).end(End.CLEAN)
        with pytest.raises(PowerCut):
            Runs(folder, CuttingFiles(n, loss=loss), boot_id=BOOT).begin()
        assert _begun(folder, NEXT_BOOT).last_end in {End.CLEAN, End.POWER_CUT}


def test_a_full_disk_stops_no_run(tmp_path: Path) -> None:
    runs = Runs(tmp_path, FullDisk(room=0), boot_id=BOOT)
    runs.begin()
    runs.end(End.CLEAN)
    assert runs.this.starts == 1

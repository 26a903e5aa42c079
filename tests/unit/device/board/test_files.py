"""The disk's port, and the cutting disk that the fault tests rely on: a sweep is worth what its model is worth."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.faults.disk import CuttingFiles, FullDisk, Loss, PowerCut

from sprat_device.board.files import Files, OsFiles


@pytest.fixture(params=[OsFiles, CuttingFiles])
def files(request: pytest.FixtureRequest) -> Files:
    disk: Files = request.param()
    return disk


def test_write_atomic_replaces_and_leaves_no_other_file(files: Files, tmp_path: Path) -> None:
    for data in (b"old", b"new"):
        files.write_atomic(tmp_path / "a", data)
    assert files.read(tmp_path / "a") == b"new"
    assert files.list(tmp_path) == [tmp_path / "a"]


def test_append_goes_on_and_create_starts_anew(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "log"
    for data in (b"one", b"two"):
        file = files.append(path)
        file.write(data)
        file.sync()
        file.close()
    assert files.read(path) == b"onetwo"
    files.truncate(path, 4)
    assert files.size(path) == 4
    files.create(path).close()
    assert files.read(path) == b""


def test_folders_are_made_with_parents_and_removed(files: Files, tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    files.remove_folder(tmp_path / "a" / "b")
    assert not files.exists(tmp_path / "a" / "b")
    assert files.free_bytes(tmp_path) > 0


@pytest.mark.parametrize("loss", Loss)
def test_write_atomic_leaves_old_or_new_wherever_the_power_is_cut(tmp_path: Path, loss: Loss) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    counting = CuttingFiles()
    counting.write_atomic(tmp_path / "b", b"fresh")
    seen = set()
    for n in range(1, counting.operations + 1):
        path.write_bytes(b"old")
        with pytest.raises(PowerCut):
            CuttingFiles(n, loss=loss).write_atomic(path, b"fresh")
        seen.add(path.read_bytes())
    assert seen <= {b"old", b"fresh"}
    assert b"old" in seen


def test_unsynced_bytes_are_lost_torn_or_kept(tmp_path: Path) -> None:
    outcomes = {}
    for loss in Loss:
        path = tmp_path / loss
        path.write_bytes(b"safe")
        disk = CuttingFiles(3, loss=loss)
        file = disk.append(path)
        file.write(b"abcd")
        file.write(b"efgh")
        with pytest.raises(PowerCut):
            file.sync()
        outcomes[loss] = path.read_bytes()
    assert outcomes == {
        Loss.LOST: b"safe",
        Loss.TORN: b"safeabcd" + bytes(4),
        Loss.KEPT: b"safeabcdefgh",
    }


def test_unsynced_names_are_lost(tmp_path: Path) -> None:
    (tmp_path / "gone").write_bytes(b"x")
    (tmp_path / "old").write_bytes(b"was here")
    disk = CuttingFiles(4, loss=Loss.LOST)
    disk.create(tmp_path / "made").close()
    disk.unlink(tmp_path / "gone")
    disk.rename(tmp_path / "made", tmp_path / "old")
    with pytest.raises(PowerCut):
        disk.sync_folder(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"gone": b"x", "old": b"was here"}


def test_a_rename_without_sync_of_the_data_shows_an_empty_file(tmp_path: Path) -> None:
    disk = CuttingFiles(5, loss=Loss.LOST)
    file = disk.create(tmp_path / "new")
    file.write(b"data")
    disk.rename(tmp_path / "new", tmp_path / "a")
    disk.sync_folder(tmp_path)
    with pytest.raises(PowerCut):
        file.sync()
    assert (tmp_path / "a").read_bytes() == b""


def test_nothing_works_after_the_cut(tmp_path: Path) -> None:
    disk = CuttingFiles(1)
    with pytest.raises(PowerCut):
        disk.make_folder(tmp_path / "x")
    with pytest.raises(PowerCut):
        disk.create(tmp_path / "y")


def test_a_full_disk_writes_what_fits_and_frees_what_is_removed(tmp_path: Path) -> None:
    disk = FullDisk(room=6)
    file = disk.append(tmp_path / "a")
    file.write(b"four")
    with pytest.raises(OSError, match="No space") as caught:
        file.write(b"four")
    assert caught.value.errno == errno.ENOSPC
    assert disk.size(tmp_path / "a") == 6
    disk.unlink(tmp_path / "a")
    assert disk.room == 6

"""A folder that cannot be written: read as it is, with small writes held in memory, and nothing on the disk touched."""

from __future__ import annotations

import errno
from pathlib import Path, PosixPath

import pytest
from tests.faults.disk import FullDisk

from sprat_device.board.files import OsFiles
from sprat_device.board.held import MOST_BYTES, HeldFiles, why_not_writable


def _tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_are_seen_by_their_writer_and_by_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").write_bytes(b"gone soon")
    before, files = _tree(tmp_path), HeldFiles()
    files.make_folder(tmp_path / "new" / "deep")
    files.write_atomic(tmp_path / "a", b"new")
    files.write_atomic(tmp_path / "new/deep/c", b"c")
    files.unlink(tmp_path / "b")
    files.rename(tmp_path / "new/deep/c", tmp_path / "new/deep/d")
    assert files.read(tmp_path / "a") == files.open_read(tmp_path / "a").read() == b"new"
    assert files.list(tmp_path) == [tmp_path / "a"]
    assert files.list(tmp_path / "new/deep") == [tmp_path / "new/deep/d"]
    assert [files.exists(tmp_path / name) for name in ("a", "b", "new", "new/deep/c")] == [True, False, True, False]
    assert (files.size(tmp_path / "a"), files.free_bytes(tmp_path)) == (3, 0)
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "b")
    with pytest.raises(FileNotFoundError):
        files.unlink(tmp_path / "b")
    assert _tree(tmp_path) == before


def test_what_grows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x")
    files = HeldFiles()
    refused = (
        lambda: files.append(tmp_path / "log"),
        lambda: files.create(tmp_path / "log"),
        lambda: files.truncate(tmp_path / "log", 0),
        lambda: files.rename(tmp_path / "log", tmp_path / "other"),
    )
    for act in refused:
        with pytest.raises(OSError, match="Read-only") as caught:
            act()
        assert caught.value.errno == errno.EROFS
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(tmp_path / "big", bytes(MOST_BYTES + 1))


def test_a_folder_is_asked_by_writing(tmp_path: Path) -> None:
    assert why_not_writable(tmp_path, OsFiles()) == ""
    assert list(tmp_path.iterdir()) == []
    assert why_not_writable(tmp_path / "absent", OsFiles()) == "No such file or directory"
    assert why_not_writable(tmp_path, FullDisk(room=100)) == "No space left on device"


def test_a_folder_is_listed_while_another_thread_holds_a_file_more(tmp_path: Path) -> None:
    files = HeldFiles()

    class Slow(PosixPath):
        @property
        def parent(self) -> Slow:
            files.write_atomic(tmp_path / "of another thread", b"2")
            return super().parent

    files.write_atomic(Slow(tmp_path / "a"), b"1")
    assert [path.name for path in files.list(tmp_path)] == ["a"]
    assert [path.name for path in files.list(tmp_path)] == ["a", "of another thread"]

"""A write that failed, and whose rest could not be cut off either, ends nothing: not even when its segment goes first."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sprat_device.board.files import Appender, OsFiles
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.telemetry.draft import Draft
from sprat_device.telemetry.spool import DiskSpool


class SickFiles(OsFiles):
    """The real disk, except that while it is sick it neither keeps what is appended nor cuts it off."""

    sick = False

    def append(self, path: Path) -> Appender:
        """Open for appending; its sync fails while the disk is sick."""
        return _Sick(super().append(path), self)

    def truncate(self, path: Path, size: int) -> None:
        """Cut, unless the disk is sick."""
        self.require_health()
        super().truncate(path, size)

    def require_health(self) -> None:
        """Raise OSError while the disk is sick."""
        if self.sick:
            raise OSError(errno.EIO, "sick disk")


class _Sick:
    def __init__(self, real: Appender, files: SickFiles) -> None:
        self._real, self._files = real, files
        self.write, self.close = real.write, real.close

    def sync(self) -> None:
        self._files.require_health()
        self._real.sync()


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)  # no power is cut here
    monkeypatch.setattr(os, "fdatasync", lambda _fd: None)


def test_a_torn_segment_that_is_evicted_leaves_its_lane_in_use(tmp_path: Path) -> None:
    files = SickFiles()
    spool = DiskSpool(files, tmp_path, cap_bytes=12_000, segment_bytes=3_000)
    spool.append(_draft(Lane.PREDICTIONS, 1000))
    files.sick = True
    with pytest.raises(OSError, match="sick disk"):
        spool.append(_draft(Lane.PREDICTIONS, 1000))
    files.sick = False
    gaps = [gap for _ in range(6) for gap in spool.append(_draft(Lane.EVENTS, 1500))]
    assert [(gap.lane, gap.records) for gap in gaps][:1] == [(Lane.PREDICTIONS, 1)]

    spool.append(_draft(Lane.PREDICTIONS, 100))

    entry = spool.peek(spool.logs()[0].epoch, Lane.PREDICTIONS, start=0, stop=10)
    assert entry is not None
    assert entry[0] == 1  # the torn frame was never one


def _draft(lane: Lane, size: int) -> Draft:
    return Draft(lane, 1, b"x" * size, b"b" * 16, 1, 2, 3, 4, ClockState.SYNCHRONISED)

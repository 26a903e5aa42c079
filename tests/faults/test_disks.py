"""The disk is full, read-only or broken, and well again: inference goes on, what is lost is counted, the ledger balances."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.disk import SickDisk
from tests.field import Field, field, running
from tests.ingests import until

from sprat_device.board.files import Appender, OsFiles
from sprat_device.contract.phases import Lane

pytestmark = pytest.mark.faults


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Field]:
    with field(tmp_path) as made:
        yield made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a real file system of 512 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("ail", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=errno.errorcode.get)
def test_a_sick_disk_costs_counted_records(world: Field, ail: int) -> None:
    disk = SickDisk()
    with running(world.device(files=disk)) as device:
        until(lambda: bool(world.arrived()))
        disk.ail = ail
        until(lambda: device.recorder.ledger()[Lane.PREDICTIONS].evicted > 100)
        device.goes_on()
        assert disk.refused
        disk.ail = None
        device.goes_on()
        world.whole(device, evicts=True)
        lost = device.recorder.ledger()[Lane.PREDICTIONS].evicted
        told = [event.detail for event in world.store.events("d1", code="gap", limit=10_000)]
        assert sum(int(str(gap["records"])) for gap in told if gap["lane"] == Lane.PREDICTIONS) == lost
        assert {gap["reason"] for gap in told} == {"disk"}


class HungDisk(OsFiles):
    """A disk whose every sync waits while `works` is not set, as a worn card does for minutes."""

    def __init__(self) -> None:
        self.works = threading.Event()
        self.works.set()
        self.waited = 0

    def append(self, path: Path) -> Appender:
        """Open a file for appending."""
        return _Hanging(self, super().append(path))


class _Hanging:
    def __init__(self, disk: HungDisk, file: Appender) -> None:
        self._disk, self._file = disk, file
        self.write, self.close = file.write, file.close

    def sync(self) -> None:
        self._disk.waited += not self._disk.works.is_set()
        self._disk.works.wait()
        self._file.sync()


def test_a_disk_that_hangs_holds_no_prediction_up(world: Field) -> None:
    disk = HungDisk()
    with running(world.device(files=disk)) as device:
        until(lambda: bool(world.arrived()))
        disk.works.clear()
        try:
            until(lambda: disk.waited > 0)
            device.goes_on(400)
            assert all(report.balanced() for report in device.recorder.ledger().values())
        finally:
            disk.works.set()
        world.whole(device)


def test_a_real_disk_that_others_fill_and_empty_again(world: Field, small_disk: Path) -> None:
    with running(world.device(spool=small_disk / "spool")) as device:
        until(lambda: bool(world.arrived()))
        world.link.cut()
        ballast = small_disk / "ballast"
        _fill(ballast)
        until(lambda: device.recorder.ledger()[Lane.PREDICTIONS].evicted > 100)
        device.goes_on()
        ballast.unlink()
        world.link.restore()
        device.goes_on()
        world.whole(device, evicts=True)


def _fill(path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        _write_for_ever(path)


def _write_for_ever(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clock import ManualClock

from sprat_device.board.files import Appender, OsFiles
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.phases import Reason
from sprat_device.install.fetch import SYNC_EVERY, Pace, Wanted, fetch
from sprat_device.install.origins import TryLater

CONTENT = bytes(range(256)) * 4000
WANTED = Wanted("a/b.sprat", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
PACE = Pace(minimum_bytes_per_s=100, total_s=3600)


class Origin:
    """Sends CONTENT in chunks; may stop early or let time pass between chunks."""

    def __init__(
        self, clock: ManualClock, *, chunk: int = 65536, seconds: float = 0, stop_at: int | None = None
    ) -> None:
        self.clock = clock
        self.chunk = chunk
        self.seconds = seconds
        self.stop_at = stop_at
        self.asked: list[int] = []

    def metadata(self, name: str) -> Iterator[bytes]:
        raise AssertionError(name)

    def target(self, stored_as: str, offset: int) -> tuple[int, Iterator[bytes]]:
        self.asked.append(offset)
        return offset, self._chunks(offset)

    def _chunks(self, offset: int) -> Iterator[bytes]:
        for begin in range(offset, self.stop_at or len(CONTENT), self.chunk):
            self.clock.advance(self.seconds)
            yield CONTENT[begin : begin + self.chunk]


def _fetch(folder: Path, origin: Origin) -> Path:
    target = folder / "whole"
    fetch(WANTED, origin, part=folder / "part", target=target, files=OsFiles(), clock=origin.clock, pace=PACE)
    return target


def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    with pytest.raises(TryLater, match="bytes are missing"):
        _fetch(tmp_path, Origin(ManualClock(), stop_at=200_000))
    held = (tmp_path / "part").stat().st_size
    origin = Origin(ManualClock())
    assert _fetch(tmp_path, origin).read_bytes() == CONTENT
    assert origin.asked == [held]
    assert not (tmp_path / "part").exists()


class Unsynced(OsFiles):
    """The real disk; remembers the most bytes that a power cut could have taken."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def append(self, path: Path) -> Appender:
        real, disk = super().append(path), self

        class Counted:
            def write(self, data: bytes) -> None:
                real.write(data)
                disk.now += len(data)
                disk.most = max(disk.most, disk.now)

            def sync(self) -> None:
                real.sync()
                disk.now = 0

            def close(self) -> None:
                real.close()

        return Counted()


def test_a_power_cut_costs_a_quarter_of_a_mebibyte_at_most(tmp_path: Path) -> None:
    disk, origin = Unsynced(), Origin(ManualClock())
    fetch(WANTED, origin, part=tmp_path / "part", target=tmp_path / "whole", files=disk, clock=origin.clock, pace=PACE)
    assert len(CONTENT) > 2 * SYNC_EVERY >= 2 * disk.most
    assert disk.now == 0, "the file has its name only when all of it is on the disk"


def test_a_whole_part_is_not_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT)
    origin = Origin(ManualClock())
    _fetch(tmp_path, origin)
    assert origin.asked == []


def test_a_damaged_whole_file_is_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(CONTENT[:-1] + b"?")
    assert _fetch(tmp_path, Origin(ManualClock())).read_bytes() == CONTENT


def test_a_damaged_part_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"?" * 1000)
    with pytest.raises(BundleRefused) as caught:
        _fetch(tmp_path, Origin(ManualClock()))
    assert caught.value.reason is Reason.HASH_MISMATCH
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("most", [10_000, 200_000])
def test_a_download_goes_no_faster_than_it_may(tmp_path: Path, most: int) -> None:
    origin = Origin(ManualClock())
    begun_us = origin.clock.monotonic_us()
    # As fast as the disk: all of the time that passes is what was waited. A sender that we slow down is not too slow.
    fetch(WANTED, origin, part=tmp_path / "part", target=tmp_path / "whole", files=OsFiles(), clock=origin.clock,
          pace=Pace(minimum_bytes_per_s=50_000, total_s=3600, maximum_bytes_per_s=most), sleep=origin.clock.advance)  # fmt: skip
    passed_s = (origin.clock.monotonic_us() - begun_us) / 1e6
    assert passed_s == pytest.approx(len(CONTENT) / most)


def test_a_sender_that_is_slower_than_half_of_what_it_may_is_too_slow(tmp_path: Path) -> None:
    origin = Origin(ManualClock(), chunk=4_000, seconds=1)
    with pytest.raises(TryLater, match="slower than"):
        fetch(WANTED, origin, part=tmp_path / "part", target=tmp_path / "whole", files=OsFiles(), clock=origin.clock,
              pace=Pace(minimum_bytes_per_s=50_000, total_s=3600, maximum_bytes_per_s=10_000),
              sleep=origin.clock.advance)  # fmt: skip


def test_one_byte_in_twenty_seconds(tmp_path: Path) -> None:
    with pytest.raises(TryLater) as caught:
        _fetch(tmp_path, Origin(ManualClock(), chunk=1, seconds=20))
    assert caught.value.reason is Reason.TOO_SLOW


def test_just_fast_enough_takes_too_long_in_total(tmp_path: Path) -> None:
    with pytest.raises(TryLater, match="longer than 3600 s"):
        _fetch(tmp_path, Origin(ManualClock(), chunk=300_000, seconds=1201))

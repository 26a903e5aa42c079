from __future__ import annotations

import time
from pathlib import Path

import pytest

from sprat_device.board import clock as clock_module
from sprat_device.board.clock import ClockSteps, SystemClock, apart_us
from sprat_device.contract.phases import ClockState


def test_the_boot_id_is_the_kernels_or_random(tmp_path: Path) -> None:
    known = tmp_path / "boot_id"
    known.write_text("00112233-4455-6677-8899-aabbccddeeff\n", encoding="ascii")
    assert SystemClock(boot_id_file=known).boot_id.hex() == "00112233445566778899aabbccddeeff"
    known.write_text("no uuid", encoding="ascii")
    first, second = (SystemClock(boot_id_file=path).boot_id for path in (known, tmp_path / "absent"))
    assert len(first) == len(second) == 16
    assert first != second


def test_the_monotonic_clock_never_goes_back_and_the_state_can_be_fixed() -> None:
    clock = SystemClock()
    times = [clock.monotonic_us() for _ in range(100)]
    assert times == sorted(times)
    assert clock.state() in ClockState
    for state in ClockState:
        assert SystemClock(state).state() is state


def test_the_monotonic_clock_counts_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    # As after an hour of suspend, which no test can have.
    told = {time.CLOCK_BOOTTIME: 3_605_000_000_000, time.CLOCK_MONOTONIC: 5_000_000_000}
    monkeypatch.setattr(time, "clock_gettime_ns", told.__getitem__)
    assert SystemClock().monotonic_us() == 3_605_000_000


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("systemd", [True, False])
def test_the_wall_clock_is_believed_by_the_kernels_word_or_systemds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kernel: bool, systemd: bool
) -> None:
    monkeypatch.setattr(clock_module, "_kernel_is_synchronised", lambda: kernel)
    monkeypatch.setattr(clock_module, "_TIMESYNC", tmp_path if systemd else tmp_path / "absent")
    assert (SystemClock().state() is ClockState.SYNCHRONISED) is (kernel or systemd)


class MovedClock(SystemClock):
    """The machine's clock with a wall clock that a test sets."""

    moved_us = 0

    def wall_us(self) -> int:
        return super().wall_us() + self.moved_us


def test_a_clock_whose_sign_is_hidden_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # "Permission denied", which no test as root can see, fails as a name that is too long does.
    monkeypatch.setattr(clock_module, "_TIMESYNC", tmp_path / ("x" * 300))
    monkeypatch.setattr(clock_module, "_kernel_is_synchronised", lambda: False)
    assert SystemClock().state() is ClockState.UNSYNCHRONISED


def test_a_wall_clock_that_is_set_is_noticed_once_and_by_how_much() -> None:
    clock = MovedClock()
    steps = ClockSteps(clock)
    assert steps.jumped_s(5) == 0
    clock.moved_us = 3600 * 1_000_000
    assert round(steps.jumped_s(5)) == 3600
    assert steps.jumped_s(5) == 0
    clock.moved_us -= 60 * 1_000_000
    assert round(steps.jumped_s(5)) == -60
    clock.moved_us += 2 * 1_000_000
    assert steps.jumped_s(5) == 0


class HeldUp(SystemClock):
    """A machine whose wall and monotonic clock are equal, and where the thread that reads them is held up at times."""

    def __init__(self, held_up_us: list[int]) -> None:
        super().__init__()
        self._now_us = 1_000_000
        self._held_up_us = held_up_us

    def _read(self) -> int:
        self._now_us += self._held_up_us.pop(0) if self._held_up_us else 1
        return self._now_us

    def monotonic_us(self) -> int:
        return self._read()

    def wall_us(self) -> int:
        return self._read()


def test_a_thread_that_waits_between_two_clocks_does_not_move_them_apart() -> None:
    assert abs(apart_us(HeldUp([1, 5_000, 1]))) <= 1
    assert abs(apart_us(HeldUp([1, 5_000, 1, 1, 1, 5_000]))) <= 1

"""A day's byte budget: its steps, restarts, and clocks that jump."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.clock import ManualClock
from tests.faults.disk import CuttingFiles, Loss, PowerCut

from sprat_device.board.days import Moment
from sprat_device.board.files import OsFiles
from sprat_device.contract.phases import ClockState
from sprat_device.contract.twin import Detail
from sprat_device.telemetry.budget import DailyBudget, KeptBudget

DAY = 86_400


def moment(clock: ManualClock) -> Moment:
    return Moment.of(clock)


def spend(budget: DailyBudget, size: int, clock: ManualClock) -> Detail:
    budget.spend(size, moment(clock))
    return budget.detail(Detail.FULL)


def test_samples_are_allowed_before_summaries() -> None:
    budget, clock = DailyBudget(100), ManualClock()
    assert spend(budget, 79, clock) is Detail.FULL
    assert spend(budget, 1, clock) is Detail.SAMPLED
    assert budget.detail(Detail.SUMMARY) is Detail.SUMMARY
    assert spend(budget, 20, clock) is Detail.SUMMARY


def test_no_limit_is_no_limit() -> None:
    assert spend(DailyBudget(), 10**12, ManualClock()) is Detail.FULL


def test_a_clock_that_jumps_is_granted_nothing_before_a_day_has_passed() -> None:
    budget, clock = DailyBudget(100), ManualClock()
    assert spend(budget, 100, clock) is Detail.SUMMARY
    for days in (1, -1, 1, 1, 14 * 365, -14 * 365, -3):
        clock.jump(days * DAY)
        clock.advance(600)
        assert spend(budget, 0, clock) is Detail.SUMMARY
    clock.advance(DAY)
    clock.jump(2 * DAY)
    assert spend(budget, 0, clock) is Detail.FULL  # and nobody is locked out by having been in 2040


def test_a_midnight_that_comes_by_itself_grants_at_once() -> None:
    clock = ManualClock(wall_us=(20_000 * DAY - 600) * 1_000_000)
    budget = DailyBudget(100)
    assert spend(budget, 100, clock) is Detail.SUMMARY
    clock.jump(-60)  # put right by a minute
    clock.advance(661)
    assert spend(budget, 0, clock) is Detail.FULL


def test_a_board_that_is_off_over_night_has_each_day_its_budget(tmp_path: Path) -> None:
    clock = ManualClock()
    for _ in range(5):
        kept, budget = reopened(tmp_path)
        clock.reboot()
        clock.believe(ClockState.UNSYNCHRONISED)
        spend(budget, 0, clock)  # it begins where it went off
        clock.believe(ClockState.SYNCHRONISED)
        clock.jump(DAY)
        assert spend(budget, 1600, clock) is Detail.SUMMARY
        clock.jump(DAY)  # but not twice in one boot
        assert spend(budget, 0, clock) is Detail.SUMMARY
        clock.jump(-DAY)
        kept.keep(budget)
        _, again = reopened(tmp_path)  # nor by an agent that begins anew
        clock.jump(DAY)
        assert spend(again, 0, clock) is Detail.SUMMARY
        clock.jump(-DAY)


def test_without_a_clock_a_day_is_a_day_of_uptime() -> None:
    budget, clock = DailyBudget(100), ManualClock(wall_us=0, state=ClockState.UNSYNCHRONISED)
    spend(budget, 100, clock)
    for _ in range(23):
        clock.advance(3600)
        clock.jump(DAY * 100)
        assert spend(budget, 0, clock) is Detail.SUMMARY
    clock.advance(3600)
    assert spend(budget, 0, clock) is Detail.FULL


def test_what_was_spent_before_the_date_was_known_is_of_that_day() -> None:
    budget = DailyBudget(100)
    spend(budget, 100, ManualClock(wall_us=0, state=ClockState.UNSYNCHRONISED))
    assert spend(budget, 0, ManualClock()) is Detail.SUMMARY


def reopened(folder: Path) -> tuple[KeptBudget, DailyBudget]:
    kept = KeptBudget(OsFiles(), folder / "budget.json")
    budget = kept.load()
    budget.limit_bytes = 1600
    return kept, budget


@pytest.mark.parametrize("clean", [True, False])
def test_a_restart_forgets_nothing(tmp_path: Path, clean: bool) -> None:
    clock = ManualClock()
    kept, budget = reopened(tmp_path)
    for _ in range(10):
        budget.spend(50, moment(clock))
        kept.keep(budget)
    if clean:
        kept.keep(budget, exact=True)
    _, again = reopened(tmp_path)
    assert again.day == budget.day
    spent = again.spent[again.day]
    assert spent == 500 if clean else 500 <= spent <= 600  # what a crash costs is counted as spent


def test_crashes_in_a_loop_cannot_multiply_the_budget(tmp_path: Path) -> None:
    clock, sent = ManualClock(), 0
    for _ in range(1000):
        kept, budget = reopened(tmp_path)
        budget.spend(10, moment(clock))
        kept.keep(budget)
        if budget.detail(Detail.FULL) is Detail.SUMMARY:
            break
        sent += 10
        clock.reboot()
    assert 0 < sent <= 1600


def test_it_is_written_in_parts_and_not_with_every_frame(tmp_path: Path) -> None:
    files, clock = CuttingFiles(), ManualClock()
    kept = KeptBudget(files, tmp_path / "budget.json")
    budget = kept.load()
    budget.limit_bytes = 16_000
    kept.keep(budget)
    one = files.operations
    for _ in range(160):
        budget.spend(100, moment(clock))
        kept.keep(budget)
    assert files.operations <= 18 * one


def spend_until_cut(folder: Path, files: CuttingFiles) -> int:
    """Spend and keep until the power goes; return what had been spent and kept by then."""
    kept = KeptBudget(files, folder / "budget.json")
    budget, clock, spent = kept.load(), ManualClock(), 0
    budget.limit_bytes = 1600
    try:
        for _ in range(100):
            budget.spend(100, moment(clock))
            kept.keep(budget)
            spent += 100
    except PowerCut:
        return spent
    raise AssertionError("the power was never cut")


@pytest.mark.parametrize("loss", list(Loss))
def test_a_power_cut_at_every_write_forgets_nothing(tmp_path: Path, loss: Loss) -> None:
    for cut_at in range(1, 12):
        folder = tmp_path / str(cut_at)
        folder.mkdir()
        spent = spend_until_cut(folder, CuttingFiles(cut_at, loss=loss))
        _, again = reopened(folder)
        assert again.spent.get(again.day, 0) >= spent


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"schema":"sprat.budget/2"}', b'{"schema":"sprat.budget/1","spent":[[1]],"uptime_us":0}']
)
def test_a_damaged_file_begins_anew(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "budget.json").write_bytes(raw)
    assert reopened(tmp_path)[1].spent == {}


def test_a_full_disk_costs_no_telemetry(tmp_path: Path) -> None:
    kept, budget = reopened(tmp_path / "missing")
    assert spend(budget, 1600, ManualClock()) is Detail.SUMMARY
    kept.keep(budget)
    kept.keep(budget, exact=True)


def test_only_so_many_days_are_remembered() -> None:
    budget, clock = DailyBudget(100), ManualClock()
    for _ in range(200):
        spend(budget, 1, clock)
        clock.jump(DAY)
    assert len(budget.spent) <= 64

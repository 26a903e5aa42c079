"""Trials that wait: windows of the hub and of the site, an unsynchronised clock, urgent offers, and `defer`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.clock import ManualClock
from tests.installs import MODEL, Board, clock_at, offer_of
from tests.samples import Publisher, bundle

from sprat_device.board.files import OsFiles
from sprat_device.contract.phases import ClockState, Reason
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.twin import Offer
from sprat_device.install.hours import LONGEST_S, defer, deferral

pytestmark = pytest.mark.integration
SATURDAY = datetime(2026, 11, 21, 18, tzinfo=UTC)
NIGHT = ("sun 02:00-05:00",)
HOUR = 3600


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=SATURDAY)
        file = bundle(folder / "one.sprat")
        self.offer = offer_of(self.publisher.release(file), file)

    def board(self, *, windows: tuple[str, ...] = (), state: ClockState = ClockState.SYNCHRONISED) -> Board:
        board = Board(self.folder / "state", self.publisher, clock=clock_at(SATURDAY, state=state), windows=windows)
        board.installer.boot()
        return board


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def offered(board: Board, offer: Offer) -> Board:
    board.installer.offer(MODEL, offer)
    board.run_until_trial()
    return board


def told(board: Board) -> tuple[Phase, str]:
    return board.record.phase, board.record.reason


def test_it_is_fetched_and_checked_outside_and_answers_inside(world: World) -> None:
    board = offered(world.board(windows=NIGHT), world.offer)
    assert told(board) == (Phase.CHECKED, Reason.OUTSIDE_WINDOW)
    assert board.record.detail == "window of this device's settings opens 2026-11-22 02:00 UTC"
    assert board.installer.active(MODEL) is None
    waits = [detail for code, detail in board.installer.events() if code == "install-waits"]
    assert [detail["reason"] for detail in waits] == [Reason.OUTSIDE_WINDOW]
    board.clock.advance(8 * HOUR - 1)
    board.installer.tick()
    assert board.record.phase is Phase.CHECKED
    board.clock.advance(1)
    board.installer.tick()
    assert told(board) == (Phase.TRIAL, "")
    assert [code for code, _ in board.installer.events()] == ["install-trial"]


def test_waiting_survives_a_restart_and_a_jump_of_the_clock_back(world: World) -> None:
    offered(world.board(windows=NIGHT), world.offer)
    again = world.board(windows=NIGHT)
    again.clock.jump(-HOUR)
    again.installer.tick()
    assert again.record.phase is Phase.CHECKED
    again.clock.jump(10 * HOUR)
    again.installer.tick()
    assert again.record.phase is Phase.TRIAL


def test_the_hubs_window_holds_too_and_an_urgent_offer_passes_it(world: World) -> None:
    board = world.board()
    board.installer.maintain({"windows": list(NIGHT)})
    offered(board, world.offer)
    assert "window of the hub" in board.record.detail
    offered(board, replace(world.offer, urgent=True))
    assert board.record.phase is Phase.TRIAL


def test_an_urgent_offer_does_not_pass_the_sites_own_window(world: World) -> None:
    board = offered(world.board(windows=NIGHT), replace(world.offer, urgent=True))
    assert told(board) == (Phase.CHECKED, Reason.OUTSIDE_WINDOW)


def test_a_window_that_is_set_or_lifted_meanwhile_counts_at_once(world: World) -> None:
    board = offered(world.board(windows=NIGHT), world.offer)
    board.installer.configure(replace(board.settings, windows=("mon 00:00-01:00",)))
    board.installer.tick()
    assert "opens 2026-11-23 00:00 UTC" in board.record.detail
    board.installer.configure(replace(board.settings, windows=(), probation_predictions=1))
    board.installer.tick()
    assert board.record.phase is Phase.TRIAL
    board.predict(1)
    board.installer.tick()
    assert board.record.phase is Phase.CONFIRMED


def test_a_release_that_was_taken_back_does_not_begin_when_its_hour_comes(world: World) -> None:
    board = offered(world.board(windows=NIGHT), world.offer)
    board.installer.withdraw(MODEL)
    board.clock.advance(9 * HOUR)
    board.run_until_trial()
    assert told(board) == (Phase.IDLE, Reason.CANCELLED)


def test_both_windows_must_be_open(world: World) -> None:
    board = world.board(windows=NIGHT)
    board.installer.maintain({"windows": ["sun 04:00-06:00"]})
    offered(board, world.offer)
    board.clock.advance(8.5 * HOUR)
    board.installer.tick()
    assert "window of the hub opens 2026-11-22 04:00" in board.record.detail
    board.clock.advance(2 * HOUR)
    board.installer.tick()
    assert board.record.phase is Phase.TRIAL


@pytest.mark.parametrize("year", [1970, 2040])
def test_without_a_clock_a_window_is_closed_and_no_window_is_open(world: World, year: int) -> None:
    board = world.board(windows=("mon-sun 00:00-24:00",), state=ClockState.UNSYNCHRONISED)
    board.clock.jump((datetime(year, 1, 4, 3, tzinfo=UTC) - SATURDAY).total_seconds())
    offered(board, world.offer)
    assert told(board) == (Phase.CHECKED, Reason.OUTSIDE_WINDOW)
    assert "clock is not synchronised" in board.record.detail
    free = world.board(state=ClockState.UNSYNCHRONISED)
    free.installer.tick()
    assert free.record.phase is Phase.TRIAL


def test_maintenance_of_a_later_hub_keeps_it_closed_and_says_why(world: World) -> None:
    board = world.board()
    board.installer.maintain({"windows": [{"rrule": "FREQ=WEEKLY"}]})
    offered(board, world.offer)
    assert "cannot be read" in board.record.detail
    board.installer.maintain({"windows": [], "unknown": 1})
    board.installer.tick()
    assert board.record.phase is Phase.TRIAL


def test_a_bad_trial_is_undone_outside_every_window(world: World) -> None:
    board = world.board(windows=("sat 18:00-18:01",))
    offered(board, world.offer)
    board.clock.advance(HOUR)
    board.predict(4, ok=False)
    board.installer.tick()
    assert board.record.phase is Phase.REVERTED


def test_what_an_operator_puts_off_waits_and_goes_on_by_itself(world: World) -> None:
    board = world.board()
    defer(board.state, board.files, board.clock, seconds=2 * HOUR)
    offered(board, replace(world.offer, urgent=True))
    assert told(board) == (Phase.CHECKED, Reason.DEFERRED)
    board.clock.jump(90 * 86_400)  # a clock that jumps is no time that passes
    board.installer.tick()
    assert board.record.phase is Phase.CHECKED
    board.clock.advance(2 * HOUR)
    board.installer.tick()
    assert board.record.phase is Phase.TRIAL


def test_a_deferral_over_a_reboot_counts_by_a_synchronised_clock_or_ends(tmp_path: Path) -> None:
    files, clock = OsFiles(), ManualClock()
    assert deferral(tmp_path, files, clock) == 0
    defer(tmp_path, files, clock, seconds=HOUR)
    clock.advance(60)
    assert deferral(tmp_path, files, clock) == HOUR - 60
    clock.reboot()
    assert deferral(tmp_path, files, clock) == HOUR - 60
    lost = ManualClock(wall_us=0, state=ClockState.UNSYNCHRONISED, boot=7)
    assert deferral(tmp_path, files, lost) == 0
    clock.jump(-90 * 86_400)
    assert deferral(tmp_path, files, clock) == LONGEST_S  # a bound, however far a clock jumps back
    (tmp_path / "defer.json").write_bytes(b"damaged")
    assert deferral(tmp_path, files, clock) == 0

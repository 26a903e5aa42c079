"""The installer over a signed repository: trials, reverts, retries, and what a start takes up."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.installs import MODEL, Board, check_that_says, offer_of
from tests.samples import NOW, Publisher, bundle

from sprat_device.board.memory import resident_kib
from sprat_device.contract.ids import Digest
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed, Offer
from sprat_device.install.record import OFFLINE, Install, Records
from sprat_device.install.work import work

pytestmark = pytest.mark.integration


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=NOW)
        self.offers = [self.release(b"one"), self.release(b"two"), self.release(b"three")]

    def release(self, fill: bytes) -> Offer:
        path = bundle(self.folder / f"{fill.decode()}.sprat", fill=fill)
        return offer_of(self.publisher.release(path), path, rollout=fill.decode())

    def board(self) -> Board:
        board = Board(self.folder / "state", self.publisher)
        board.installer.boot()
        return board


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def board(world: World) -> Board:
    board = world.board()
    board.install(world.offers[0])
    assert board.record.phase is Phase.CONFIRMED
    board.installer.events()
    return board


def active(board: Board) -> str:
    found = board.installer.active(MODEL)
    return found[0].bundle if found else ""


def on_trial(board: Board, offer: Offer) -> None:
    board.installer.offer(MODEL, offer)
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL


def test_a_trial_answers_and_the_old_bundle_stays_spare(world: World, board: Board) -> None:
    board.installer.offer(MODEL, world.offers[1])
    board.run_until_trial()
    held = board.installer.active(MODEL)
    assert held is not None
    assert (held[0].bundle, held[1].exists()) == (world.offers[1].bundle, True)
    slots = board.installer.reports()[MODEL]
    assert slots[:2] == (Installed(world.offers[1].bundle, 2), Installed(world.offers[0].bundle, 1))
    assert slots[2].phase is Phase.TRIAL


def test_errors_in_a_trial_bring_the_old_bundle_back(world: World, board: Board) -> None:
    on_trial(board, world.offers[1])
    board.predict(4, ok=False)
    board.installer.tick()
    assert active(board) == world.offers[0].bundle
    assert (board.record.phase, board.record.reason) == (Phase.REVERTED, Reason.TOO_MANY_ERRORS)
    bundles = [path.name for path in (board.state / "bundles").iterdir()]
    assert bundles == [f"{world.offers[0].bundle}.sprat"]


def test_an_agent_that_grows_in_a_trial_brings_the_old_bundle_back(world: World, board: Board) -> None:
    passes = {"ok": True, "latency_us": {"p50": 10, "p99": 20}, "ram_above_floor_kib": 700}
    board.with_ports(check=check_that_says(passes))
    on_trial(board, world.offers[1])
    assert board.record.probation.growth_kib == 16 * 1024
    board.predict(1)
    for grown_kib in (0, 5_000, 17_000, 18_000, 19_000):
        board.weighs_kib = 80_000 + grown_kib
        board.installer.tick()
    assert (board.record.phase, board.record.reason) == (Phase.REVERTED, Reason.TOO_MUCH_MEMORY)
    assert active(board) == world.offers[0].bundle


def test_an_agent_that_does_not_grow_confirms_after_it_was_weighed(world: World, board: Board) -> None:
    board.with_ports(check=check_that_says({"ok": True, "latency_us": {"p99": 20}, "ram_above_floor_kib": 30_000}))
    on_trial(board, world.offers[1])
    board.predict(4)
    board.installer.tick()
    assert board.record.phase is Phase.TRIAL
    for _ in range(4):
        board.installer.tick()
    assert board.record.phase is Phase.CONFIRMED
    assert board.record.probation.growth_kib == 30_000


def test_an_agent_that_grows_after_the_trial_is_told_once_and_nothing_is_reverted(world: World, board: Board) -> None:
    board.with_ports(check=check_that_says({"ok": True, "latency_us": {"p99": 20}, "ram_above_floor_kib": 700}))
    on_trial(board, world.offers[1])
    board.installer.loaded(MODEL, world.offers[1].bundle)
    board.predict(4)
    for _ in range(6):
        board.installer.tick()
    assert board.record.phase is Phase.CONFIRMED
    board.installer.events()
    for _ in range(3):
        board.weighs_kib += 10_000
        for _ in range(4):
            board.installer.tick()
    assert [(code, detail["limit_kib"]) for code, detail in board.installer.events()] == [("memory-grown", 96_384)]
    assert active(board) == world.offers[1].bundle
    board.installer.loaded(MODEL, world.offers[1].bundle)  # weighed anew from its first prediction on
    board.weighs_kib += 90_000
    board.installer.tick()
    board.predict(1)
    for _ in range(5):
        board.installer.tick()
    assert [code for code, _ in board.installer.events()] == ["bundle-loaded"]


def test_this_process_can_be_weighed() -> None:
    assert 10_000 < resident_kib() < 10_000_000


def test_a_bundle_that_does_not_load_is_reverted(world: World, board: Board) -> None:
    on_trial(board, world.offers[1])
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "no such op")
    board.installer.tick()
    assert active(board) == world.offers[0].bundle
    assert (board.record.reason, board.record.detail) == (Reason.NOT_LOADED, "no such op")


def test_a_kept_bundle_that_no_longer_loads_gives_way_to_the_spare(world: World, board: Board) -> None:
    board.install(world.offers[1])
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "flash is worn")
    board.installer.tick()
    assert active(board) == world.offers[0].bundle


def test_a_kept_bundle_that_the_settings_do_not_feed_stays_and_one_on_trial_does_not(
    world: World, board: Board
) -> None:
    on_trial(board, world.offers[1])
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "takes other records", unfed=True)
    board.installer.tick()
    assert active(board) == world.offers[0].bundle
    board.install(world.offers[2])
    board.installer.not_loaded(MODEL, world.offers[2].bundle, "takes other records", unfed=True)
    board.installer.tick()
    assert active(board) == world.offers[2].bundle


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema": "sprat.slots/1", "active": 7}', b"\xff\xfe"])
@pytest.mark.parametrize("room", ["slots", "installs"])
def test_a_damaged_record_costs_neither_the_start_nor_the_bundle(
    world: World, board: Board, room: str, damage: bytes
) -> None:
    (board.state / room / f"{MODEL}.json").write_bytes(damage)
    again = world.board()
    assert active(again) == world.offers[0].bundle
    again.installer.offer(MODEL, world.offers[0])
    assert again.record.phase is Phase.CONFIRMED
    again.install(world.offers[1])
    assert active(world.board()) == world.offers[1].bundle


def test_damaged_floors_end_neither_a_start_nor_what_answers(world: World, board: Board) -> None:
    on_trial(board, world.offers[1])
    for side in board.state.glob("release-floors.*"):
        side.write_bytes(b"worn")
    board.predict(board.settings.probation_predictions)
    board.installer.tick()
    assert (board.record.phase, active(board)) == (Phase.CONFIRMED, world.offers[1].bundle)
    assert "floor-not-raised" in [code for code, _ in board.installer.events()]
    again = world.board()
    assert active(again) == world.offers[1].bundle
    again.installer.offer(MODEL, world.offers[2])
    again.run_until_trial()
    assert (again.record.phase, again.record.reason) == (Phase.REFUSED, Reason.METADATA_ROLLBACK)


def test_too_many_starts_revert_a_trial(world: World, board: Board) -> None:
    on_trial(board, world.offers[1])
    for _ in range(board.settings.probation_starts - 1):
        assert active(world.board()) == world.offers[1].bundle
    last = world.board()
    assert active(last) == world.offers[0].bundle
    assert last.record.reason == Reason.TOO_MANY_STARTS


def test_predictions_of_the_old_bundle_prove_nothing(world: World, board: Board) -> None:
    on_trial(board, world.offers[1])
    for _ in range(20):
        board.installer.observe(MODEL, world.offers[0].bundle, True, 10)
    board.installer.tick()
    assert board.record.phase is Phase.TRIAL


def test_the_newest_offer_wins_over_a_trial(world: World, board: Board) -> None:
    on_trial(board, world.offers[1])
    board.installer.offer(MODEL, world.offers[2])
    codes = [code for code, _ in board.installer.events()]
    assert codes[-2:] == ["install-reverted", "install-fetching"]
    assert active(board) == world.offers[0].bundle
    board.run_until_trial()
    assert active(board) == world.offers[2].bundle
    spare = board.installer.reports()[MODEL][1]
    assert spare is not None
    assert spare.bundle == world.offers[0].bundle  # never the one that was not proven


def test_a_verdict_that_nobody_has_taken_yet_does_not_fall_on_the_next_offer(world: World, board: Board) -> None:
    on_trial(board, world.offers[1])
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "no such op")
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL
    assert active(board) == world.offers[2].bundle


def test_an_offer_that_is_taken_back_is_undone_in_every_phase(world: World, board: Board) -> None:
    away = world.publisher.folder / "repository"
    away.rename(away.with_name("away"))
    board.installer.offer(MODEL, world.offers[1])
    board.installer.tick()
    assert board.record.phase is Phase.FETCHING
    board.installer.withdraw(MODEL)
    assert (board.record.phase, board.record.reason) == (Phase.IDLE, Reason.CANCELLED)
    away.with_name("away").rename(away)
    board.installer.tick()
    assert board.record.phase is Phase.IDLE
    for _ in range(5):  # a pause and its end are no attempts
        board.installer.offer(MODEL, world.offers[1])
        board.installer.withdraw(MODEL)
    assert (board.record.phase, board.record.attempts) == (Phase.IDLE, 1)
    on_trial(board, world.offers[1])
    board.installer.withdraw(MODEL)
    assert (board.record.phase, board.record.reason) == (Phase.REVERTED, Reason.CANCELLED)
    assert active(board) == world.offers[0].bundle
    board.installer.withdraw(MODEL)
    assert board.record.phase is Phase.REVERTED


def test_what_is_kept_or_came_by_hand_is_not_taken_back(world: World, board: Board) -> None:
    board.installer.withdraw(MODEL)
    assert board.record.phase is Phase.CONFIRMED
    on_trial(board, replace(world.offers[1], rollout=OFFLINE))
    board.installer.withdraw(MODEL)
    assert board.record.phase is Phase.TRIAL


def test_the_same_offer_again_changes_nothing(world: World, board: Board) -> None:
    board.installer.offer(MODEL, world.offers[0])
    board.installer.tick()
    assert active(board) == world.offers[0].bundle
    assert board.installer.events() == []


def test_another_rollout_of_what_runs_is_confirmed_at_once(world: World, board: Board) -> None:
    board.installer.offer(MODEL, replace(world.offers[0], rollout="again"))
    report = board.installer.reports()[MODEL][2]
    assert (report.phase, report.rollout) == (Phase.CONFIRMED, "again")


def test_attempts_of_one_release_are_counted_over_rollouts(world: World, board: Board) -> None:
    for attempt in range(board.settings.attempts):
        on_trial(board, replace(world.offers[1], rollout=f"try-{attempt}"))
        board.predict(4, ok=False)
        board.installer.tick()
    board.installer.offer(MODEL, replace(world.offers[1], rollout="last"))
    assert (board.record.phase, board.record.reason) == (Phase.REFUSED, Reason.ATTEMPTS_SPENT)
    on_trial(board, world.offers[2])  # another release is another matter


def test_an_origin_that_is_away_is_tried_later_and_later(world: World, board: Board) -> None:
    repository = world.publisher.folder / "repository"
    away = repository.rename(repository.with_name("away"))
    board.installer.offer(MODEL, world.offers[1])
    for _ in range(3):
        board.installer.tick()
    assert (board.record.phase, board.record.reason) == (Phase.FETCHING, Reason.UNREACHABLE)
    away.rename(repository)
    board.installer.tick()
    assert board.record.phase is Phase.FETCHING  # not before its time
    board.clock.advance(11)
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL


@pytest.mark.parametrize(
    ("code", "reason"),
    [(-9, Reason.OUT_OF_MEMORY), (137, Reason.OUT_OF_MEMORY), (-11, Reason.UPDATER_FAILED), (1, Reason.UPDATER_FAILED)],
)
def test_an_updater_that_dies_again_and_again_is_given_up(
    world: World, board: Board, code: int, reason: Reason
) -> None:
    board.updater_ends = code
    board.installer.offer(MODEL, world.offers[1])
    for _ in range(board.settings.updater_attempts - 1):
        board.installer.tick()
        board.installer.tick()
        assert (board.record.phase, board.record.reason) == (Phase.FETCHING, reason)
        board.clock.advance(3600)
    again = world.board()  # the count survives a restart
    again.updater_ends = code
    again.installer.tick()
    again.installer.tick()
    assert (again.record.phase, again.record.reason) == (Phase.REFUSED, reason)
    assert active(again) == world.offers[0].bundle
    again.updater_ends = 0
    again.installer.offer(MODEL, world.offers[2])
    again.run_until_trial()
    assert (again.record.phase, again.record.failures) == (Phase.TRIAL, 0)


@pytest.mark.parametrize("code", [2, 3, 4, 75])
def test_what_somebody_can_mend_is_tried_for_ever(world: World, board: Board, code: int) -> None:
    board.updater_ends = code
    board.installer.offer(MODEL, world.offers[1])
    for _ in range(20):
        board.installer.tick()
        board.clock.advance(3600)
    assert (board.record.phase, board.record.failures) == (Phase.FETCHING, 0)
    board.updater_ends = 0
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL


def test_a_check_that_the_kernel_kills_is_tried_later_and_then_given_up(world: World, board: Board) -> None:
    board.with_ports(check=("/bin/sh", "-c", "kill -9 $$", "check"))
    board.installer.offer(MODEL, world.offers[1])
    phases = []
    for _ in range(2 * board.settings.updater_attempts):
        board.installer.tick()
        board.clock.advance(3600)
        phases.append(board.record.phase)
    assert phases[0] is Phase.STAGED
    assert (board.record.phase, board.record.reason) == (Phase.REFUSED, Reason.OUT_OF_MEMORY)
    assert active(board) == world.offers[0].bundle


def test_a_lost_bundle_falls_to_the_spare_at_boot(world: World, board: Board) -> None:
    board.install(world.offers[1])
    (board.state / "bundles" / f"{world.offers[1].bundle}.sprat").unlink()
    again = world.board()
    assert active(again) == world.offers[0].bundle
    assert "bundle-missing" in [code for code, _ in again.installer.events()]


def test_what_an_offline_install_staged_is_taken_up(world: World, board: Board) -> None:
    records = Records(board.files, board.state)
    records.store(MODEL, Install(Phase.FETCHING, world.offers[1], attempts=1))
    assert work(MODEL, board.ports).phase is Phase.CHECKED
    board.installer.tick()
    assert active(board) == world.offers[1].bundle


def test_records_survive_the_disk(world: World, board: Board) -> None:
    install = Install(Phase.STAGED, world.offers[1], "x", "y" * 5000, 2, "litert").because("a", "y" * 5000)
    records = Records(board.files, board.state)
    records.store(MODEL, install)
    assert records.load(MODEL) == install
    assert len(install.detail) == 1000
    assert json.loads(install.dump())["schema"] == "sprat.install/1"


def test_a_report_names_the_offer(world: World) -> None:
    offer = Offer("r", world.offers[0].channel, 7, "generic", Digest("0" * 64))
    report = Install(Phase.REFUSED, offer, "signature", "why", 1).report()
    assert (report.release_seq, report.bundle, report.reason) == (7, "0" * 64, "signature")

"""What was lacking comes back: refused offers, bundles that did not load, and files that somebody removed are tried again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.installs import MODEL, RUNTIMES, Board, check_that_says, offer_of
from tests.samples import NOW, Publisher, bundle, no_passphrase
from tests.unit.device.inference.bundles import KeptRecords, session

from sprat.publish.repository import prepare_withdrawal
from sprat_device.agent.streams import Streams
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import DeviceSettings, InputSettings
from sprat_device.contract.errors import MachineLacks
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Offer
from sprat_device.inference.session import Session
from sprat_device.install.fit import Machine
from sprat_device.install.origins import FolderOrigin
from sprat_device.install.record import OFFLINE, Install, Records

pytestmark = pytest.mark.integration
BARE = Machine("x86_64", 1 << 20, {})
WHOLE = Machine("x86_64", 1 << 20, RUNTIMES)
DAY_S = 86_400


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=NOW)
        self.offers = [self.release(fill) for fill in (b"one", b"two", b"three")]

    def release(self, fill: bytes) -> Offer:
        path = bundle(self.folder / f"{fill.decode()}.sprat", fill=fill)
        return offer_of(self.publisher.release(path), path, rollout=fill.decode())

    def unlist(self, offer: Offer) -> None:
        """Withdraw a release from its channel."""
        repository, keys = self.publisher.repository, self.publisher.keys
        signers = keys.signers("canary", passphrase=no_passphrase)
        prepared = prepare_withdrawal(
            repository.role_bytes("canary"), channel=offer.channel, model=MODEL, release_seq=offer.release_seq,
            signers=signers, now=NOW,
        )  # fmt: skip
        repository.accept("canary", prepared.role, prepared.files)

    def board(self, machine: Machine = WHOLE) -> Board:
        board = Board(self.folder / "state", self.publisher, machine=machine)
        board.installer.boot()
        return board


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def board(world: World) -> Board:
    """Two releases are kept: the second answers, the first is spare."""
    board = world.board()
    board.install(world.offers[0])
    board.install(world.offers[1])
    board.installer.events()
    return board


def active(board: Board) -> str:
    found = board.installer.active(MODEL)
    return found[0].bundle if found else ""


def spare(board: Board) -> str:
    found = board.installer.reports()[MODEL][1]
    return found.bundle if found else ""


def file_of(board: Board, offer: Offer) -> Path:
    return board.state / "bundles" / f"{offer.bundle}.sprat"


def codes(board: Board) -> list[str]:
    return [code for code, _ in board.installer.events()]


def refuse_for_no_runtime(world: World, board: Board) -> None:
    board.with_ports(machine=BARE)
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    assert (board.record.phase, board.record.reason) == (Phase.REFUSED, Reason.WRONG_RUNTIME)


# An offer that was refused


def test_what_a_machine_lacked_and_has_after_a_restart_is_tried_again(world: World, board: Board) -> None:
    refuse_for_no_runtime(world, board)
    again = world.board()
    again.run_until_trial()
    assert (again.record.phase, again.record.attempts) == (Phase.TRIAL, 1)
    assert active(again) == world.offers[2].bundle


def test_what_took_the_machine_s_memory_is_not_tried_at_every_start(world: World, board: Board) -> None:
    board.updater_ends = 137
    board.installer.offer(MODEL, world.offers[2])
    for _ in range(2 * board.settings.updater_attempts):
        board.installer.tick()
        board.clock.advance(100)
    assert (board.record.phase, board.record.reason) == (Phase.REFUSED, Reason.OUT_OF_MEMORY)
    again = world.board()
    again.run_until_trial()
    assert again.record.phase is Phase.REFUSED
    again.clock.advance(601)
    again.run_until_trial()
    assert again.record.phase is Phase.TRIAL


def test_what_a_machine_lacked_and_has_meanwhile_is_tried_again_in_its_time(world: World, board: Board) -> None:
    refuse_for_no_runtime(world, board)
    board.with_ports(machine=WHOLE)
    board.run_until_trial()
    assert board.record.phase is Phase.REFUSED
    board.clock.advance(601)
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL


def test_what_stays_refused_is_asked_about_ever_more_seldom(world: World, board: Board) -> None:
    refuse_for_no_runtime(world, board)
    board.installer.events()
    tries = []
    for _ in range(20):
        for _ in range(144):
            board.clock.advance(DAY_S / 144)
            board.installer.tick()
        tries.append(codes(board).count("install-fetching"))
    assert tries[0] >= 5
    assert tries[-10:] == [1] * 10


@pytest.mark.parametrize("said", [Reason.GOLDEN_MISMATCH, Reason.BAD_BUNDLE, Reason.CHECK_FAILED])
def test_what_the_bundle_is_to_blame_for_stays_refused(world: World, board: Board, said: Reason) -> None:
    board.with_ports(check=check_that_says({"ok": False, "reason": said, "detail": "no"}, 1))
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    assert (board.record.phase, board.record.reason) == (Phase.REFUSED, said)
    again = world.board()  # whose check would pass
    for _ in range(10):
        again.run_until_trial()
        again.clock.advance(DAY_S)
    assert again.record.phase is Phase.REFUSED
    assert active(again) == world.offers[1].bundle


def test_dates_that_were_over_and_are_good_again(world: World, board: Board) -> None:
    board.clock.advance(31 * DAY_S)
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    assert (board.record.phase, board.record.reason) == (Phase.REFUSED, Reason.METADATA_EXPIRED)
    world.publisher.at(NOW + timedelta(days=31)).refresh_timestamp()
    board.clock.advance(601)
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL


def test_an_offer_by_hand_that_was_refused_is_brought_again_by_hand(world: World, board: Board) -> None:
    board.with_ports(machine=BARE)
    board.installer.offer(MODEL, replace(world.offers[2], rollout=OFFLINE))
    board.run_until_trial()
    assert board.record.phase is Phase.REFUSED
    again = world.board()
    again.run_until_trial()
    assert again.record.phase is Phase.REFUSED


def test_a_shadow_that_the_machine_could_not_run_is_tried_again(world: World, board: Board) -> None:
    board.with_ports(machine=BARE)
    board.installer.offer_shadow(MODEL, world.offers[2])
    board.run_until_trial()
    assert board.installer.shadow_report(MODEL).reason == Reason.WRONG_RUNTIME
    board.with_ports(machine=WHOLE)
    board.clock.advance(601)
    board.run_until_trial()
    assert board.installer.shadow(MODEL) is not None
    board.installer.offer_shadow(MODEL, None)
    board.with_ports(machine=BARE)
    board.installer.offer_shadow(MODEL, world.offers[2])
    board.run_until_trial()
    again = world.board()
    again.run_until_trial()
    assert again.installer.shadow_report(MODEL).phase is Phase.CHECKED


def test_a_disk_that_is_full_for_the_check_alone_is_waited_for(world: World, board: Board) -> None:
    full = check_that_says({"ok": False, "reason": Reason.NO_FLASH, "detail": "no room for the artifact"}, 4)
    passes = board.ports.check
    board.with_ports(check=full)
    board.installer.offer(MODEL, world.offers[2])
    for _ in range(20):
        board.run_until_trial()
        board.clock.advance(3600)
    assert (board.record.phase, board.record.reason) == (Phase.STAGED, Reason.NO_FLASH)
    assert file_of(board, world.offers[2]).exists()
    board.with_ports(check=passes)
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL


def test_a_check_that_has_no_memory_is_tried_later(world: World, board: Board) -> None:
    board.with_ports(check=("/bin/sh", "-c", "echo MemoryError >&2; exit 1", "check"))
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    assert (board.record.phase, board.record.reason) == (Phase.STAGED, Reason.OUT_OF_MEMORY)


def test_what_the_hub_takes_back_is_not_tried_again_and_what_it_offers_again_is(world: World, board: Board) -> None:
    refuse_for_no_runtime(world, board)
    board.installer.withdraw(MODEL)
    assert (board.record.phase, board.record.reason) == (Phase.IDLE, Reason.CANCELLED)
    again = world.board()
    for _ in range(4):
        again.run_until_trial()
        again.clock.advance(DAY_S)
    assert (again.record.phase, active(again)) == (Phase.IDLE, world.offers[1].bundle)
    again.installer.offer(MODEL, world.offers[2])
    again.run_until_trial()
    assert again.record.phase is Phase.TRIAL


def test_rollouts_that_met_a_poor_machine_cost_no_attempts(world: World, board: Board) -> None:
    refuse_for_no_runtime(world, board)
    for again in range(2 * board.settings.attempts):
        board.installer.offer(MODEL, replace(world.offers[2], rollout=f"again-{again}"))
        board.run_until_trial()
        assert board.record.reason == Reason.WRONG_RUNTIME
    board.with_ports(machine=WHOLE)
    board.installer.offer(MODEL, replace(world.offers[2], rollout="last"))
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL


# A hub that changes its mind


@pytest.mark.parametrize("phase", [Phase.FETCHING, Phase.TRIAL, Phase.CONFIRMED])
def test_one_then_another_then_the_first_again(world: World, board: Board, phase: Phase) -> None:
    two, three = world.offers[1:]
    board.installer.offer(MODEL, three)
    if phase is not Phase.FETCHING:
        board.run_until_trial()
    if phase is Phase.CONFIRMED:
        board.predict(board.settings.probation_predictions)
        board.installer.tick()
    assert board.record.phase is phase
    board.installer.offer(MODEL, replace(two, rollout="back"))
    board.run_until_trial()
    kept = phase is Phase.CONFIRMED  # its floor has risen: back is a release under a new number
    assert active(board) == (three.bundle if kept else two.bundle)
    assert (board.record.phase, board.record.reason) == (
        (Phase.REFUSED, Reason.BELOW_FLOOR) if kept else (Phase.CONFIRMED, "")
    )
    board.installer.offer(MODEL, replace(three, rollout="on"))
    board.run_until_trial()
    assert active(board) == three.bundle


def test_a_release_that_is_withdrawn_while_it_is_fetched_leaves_nothing_behind(world: World, board: Board) -> None:
    class BreaksOff(FolderOrigin):
        def target(self, stored_as: str, offset: int) -> tuple[int, Iterator[bytes]]:
            begin, chunks = super().target(stored_as, offset)
            return begin, iter([next(chunks)[:100]])

    board.with_ports(origin=BreaksOff(world.publisher.folder / "repository"))
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    part = board.state / "bundles" / f"{world.offers[2].bundle}.part"
    assert (board.record.phase, part.stat().st_size) == (Phase.FETCHING, 100)
    world.unlist(world.offers[2])
    board.clock.advance(3600)
    board.run_until_trial()
    assert (board.record.phase, board.record.reason) == (Phase.REFUSED, Reason.NOT_LISTED)
    assert not part.exists()
    assert active(board) == world.offers[1].bundle


def test_a_file_that_an_install_by_hand_is_fetching_is_not_cleared_away(world: World, board: Board) -> None:
    Records(board.files, board.state).store(MODEL, Install(Phase.FETCHING, replace(world.offers[2], rollout=OFFLINE)))
    part = board.state / "bundles" / f"{world.offers[2].bundle}.part"
    part.write_bytes(b"half of it")
    board.installer.offer_shadow(MODEL, world.offers[2])
    board.installer.offer_shadow(MODEL, None)  # which clears away what nothing needs
    assert part.exists()


class SmallDisk(OsFiles):
    """A disk of so many bytes, of which bundles and their parts take theirs."""

    size = 0

    def free_bytes(self, path: Path) -> int:
        return self.size - sum(file.stat().st_size for file in (path / "bundles").iterdir())


def test_two_models_that_do_not_fit_together_come_one_after_the_other(tmp_path: Path) -> None:
    publisher, second, disk = Publisher(tmp_path / "publisher", now=NOW), ModelName("meter"), SmallDisk()
    offers = {}
    for model in (MODEL, second):
        path = bundle(tmp_path / f"{model}.sprat", model=model, fill=model.encode(), size=600_000)
        offers[model] = offer_of(publisher.release(path), path)
    each = (tmp_path / f"{second}.sprat").stat().st_size
    disk.size = 1024 * 1024 + each * 3 // 2
    board = Board(tmp_path / "state", publisher, files=disk, models=(MODEL, second))
    board.installer.boot()
    for model, offer in offers.items():
        board.installer.offer(model, offer)
    for _ in range(8):
        board.installer.tick()
    records = Records(disk, board.state)
    assert records.load(MODEL).phase is Phase.TRIAL
    assert (records.load(second).phase, records.load(second).reason) == (Phase.REFUSED, Reason.NO_FLASH)
    assert file_of(board, offers[MODEL]).exists()
    disk.size += each
    board.clock.advance(601)
    for _ in range(8):
        board.installer.tick()
    assert records.load(second).phase is Phase.TRIAL
    assert all(file_of(board, offer).exists() for offer in offers.values())


# A bundle that does not load


def test_the_spare_stands_in_until_the_kept_bundle_loads_again(world: World, board: Board) -> None:
    one, two, _ = (offer.bundle for offer in world.offers)
    waited = []
    for _ in range(3):
        board.installer.not_loaded(MODEL, two, "no room in the cache", lacks=True)
        assert (active(board), spare(board)) == (one, two)
        passed_s = 0
        while not board.installer.again(MODEL):
            board.clock.advance(10)
            passed_s += 10
            board.installer.tick()
        assert (active(board), spare(board)) == (two, one)
        waited.append(passed_s)
    assert waited == [60, 120, 240]
    assert codes(board) == ["bundle-stands-aside"] * 3
    board.installer.loaded(MODEL, two)
    board.clock.advance(DAY_S)
    board.installer.tick()
    assert not board.installer.again(MODEL)
    board.installer.not_loaded(MODEL, two, "no room in the cache", lacks=True)
    assert active(world.board()) == two, "a restart tries it at once"
    assert board.record.phase is Phase.CONFIRMED


def test_a_defect_ends_a_trial_and_what_is_kept_is_tried_again(world: World, board: Board) -> None:
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "a defect", defect=True)
    board.clock.advance(61)
    board.installer.tick()
    assert board.installer.again(MODEL)
    assert (board.record.phase, active(board)) == (Phase.CONFIRMED, world.offers[1].bundle)
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    board.installer.not_loaded(MODEL, world.offers[2].bundle, "a defect", defect=True)
    board.installer.tick()
    assert (board.record.phase, board.record.reason) == (Phase.REVERTED, Reason.NOT_LOADED)


def test_without_a_spare_it_is_tried_again_all_the_same(world: World) -> None:
    board = world.board()
    board.install(world.offers[0])
    board.installer.not_loaded(MODEL, world.offers[0].bundle, "no memory", lacks=True)
    assert active(board) == world.offers[0].bundle
    board.clock.advance(61)
    board.installer.tick()
    assert [board.installer.again(MODEL) for _ in range(2)] == [True, False]


def test_a_damaged_file_of_a_kept_bundle_is_fetched_again_and_proven_again(world: World, board: Board) -> None:
    whole = file_of(board, world.offers[1]).read_bytes()
    file_of(board, world.offers[1]).write_bytes(whole[:-1] + b"!")
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "hash-mismatch")
    assert active(board) == world.offers[0].bundle
    board.run_until_trial()
    assert (board.record.phase, active(board)) == (Phase.TRIAL, world.offers[1].bundle)
    assert file_of(board, world.offers[1]).read_bytes() == whole
    assert spare(board) == world.offers[0].bundle
    board.predict(board.settings.probation_predictions)
    board.installer.tick()
    assert board.record.phase is Phase.CONFIRMED


def test_a_trial_that_the_machine_is_not_up_to_is_put_off_a_few_times(world: World, board: Board) -> None:
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    for tried in range(1, board.settings.updater_attempts):
        assert board.record.phase is Phase.TRIAL
        board.installer.not_loaded(MODEL, world.offers[2].bundle, "no room", lacks=True)
        board.installer.tick()
        assert (board.record.phase, board.record.reason) == (Phase.CHECKED, Reason.NOT_LOADED)
        assert (board.record.failures, active(board)) == (tried, world.offers[1].bundle)
        assert file_of(board, world.offers[2]).exists()
        board.clock.advance(3601)
        board.installer.tick()
    board.installer.not_loaded(MODEL, world.offers[2].bundle, "no room", lacks=True)
    board.installer.tick()
    assert (board.record.phase, board.record.reason) == (Phase.REVERTED, Reason.NOT_LOADED)


def test_a_trial_that_was_put_off_as_the_power_went_does_not_answer_unwatched(world: World, board: Board) -> None:
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    slots = (board.state / "slots" / f"{MODEL}.json").read_bytes()
    board.installer.not_loaded(MODEL, world.offers[2].bundle, "no room", lacks=True)
    board.installer.tick()
    (board.state / "slots" / f"{MODEL}.json").write_bytes(slots)  # the phase was written, the slots were not
    again = world.board()
    assert (again.record.phase, active(again)) == (Phase.CHECKED, world.offers[1].bundle)


def test_another_offer_while_the_spare_stands_in_keeps_what_answers(world: World, board: Board) -> None:
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "no memory", lacks=True)
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    assert (active(board), spare(board)) == (world.offers[2].bundle, world.offers[0].bundle)
    board.clock.advance(DAY_S)
    board.installer.tick()
    assert not board.installer.again(MODEL), "nobody waits for the one that stood aside"


def test_an_offer_of_what_stands_in_settles_that(world: World, board: Board) -> None:
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "no memory", lacks=True)
    board.installer.offer(MODEL, replace(world.offers[0], rollout="back"))
    assert board.record.phase is Phase.CONFIRMED
    assert active(world.board()) == world.offers[0].bundle


def test_the_same_bundle_by_another_rollout_is_not_confirmed_unproven(world: World, board: Board) -> None:
    board.installer.not_loaded(MODEL, world.offers[1].bundle, "no memory", lacks=True)
    board.installer.offer(MODEL, replace(world.offers[1], rollout="again"))
    assert board.record.phase is Phase.FETCHING
    board.run_until_trial()
    assert (board.record.phase, active(board)) == (Phase.TRIAL, world.offers[1].bundle)


def test_the_streams_go_on_with_the_spare_and_take_the_kept_one_up_again(
    world: World, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spare is loaded once: while the kept one is tried in vain, it goes on answering."""
    opened, room = list[str](), False

    def open_session(path: Path, **_named: object) -> Session:
        opened.append(path.stem)
        if path.stem == world.offers[1].bundle and not room:
            raise MachineLacks("the cache cannot hold it")
        return session(digest=Digest(path.stem))

    monkeypatch.setattr(Session, "open", open_session)
    rows = board.state / "rows.npy"
    np.save(rows, np.full((4, 3), 0.5, np.float32))
    settings = replace(
        DeviceSettings(), inputs=(InputSettings(MODEL, "replay", path=str(rows), rate_hz=50.0, loop=True),)
    )
    streams = Streams(board.state, settings, SystemClock(), KeptRecords(), board.installer)  # type: ignore[arg-type]
    one, two = world.offers[0].bundle, world.offers[1].bundle

    def later() -> None:
        board.clock.advance(DAY_S)
        for _ in range(3):
            board.installer.tick()
            streams.follow_slots()

    streams.follow_slots()
    streams.follow_slots()
    assert opened == [two, one]
    later()
    assert opened == [two, one, two]
    assert active(board) == one
    room = True
    later()
    later()
    assert opened == [two, one, two, two]
    assert active(board) == two
    assert streams.stop(5) == []


# What somebody removed


@pytest.mark.parametrize("both", [False, True])
def test_files_that_are_gone_at_a_start_are_fetched_again(world: World, board: Board, both: bool) -> None:
    file_of(board, world.offers[1]).unlink()
    if both:
        file_of(board, world.offers[0]).unlink()
    again = world.board()
    assert active(again) == ("" if both else world.offers[0].bundle)
    assert codes(again).count("bundle-missing") == 1 + both
    again.run_until_trial()
    assert (again.record.phase, active(again)) == (Phase.TRIAL, world.offers[1].bundle)


def test_a_file_that_came_by_hand_and_is_gone_gives_the_hub_its_say_again(world: World, board: Board) -> None:
    board.install(replace(world.offers[2], rollout=OFFLINE))
    file_of(board, world.offers[2]).unlink()
    again = world.board()
    assert (again.record.phase, again.record.reason) == (Phase.REVERTED, Reason.NOT_LOADED)
    assert active(again) == world.offers[1].bundle


@pytest.mark.parametrize("room", ["slots", "bundles", "installs", "tuf"])
def test_a_folder_that_is_removed_under_a_running_agent_is_made_again(world: World, board: Board, room: str) -> None:
    shutil.rmtree(board.state / room)
    board.install(world.offers[2])
    assert (board.record.phase, active(board)) == (Phase.CONFIRMED, world.offers[2].bundle)
    assert active(world.board()) == world.offers[2].bundle

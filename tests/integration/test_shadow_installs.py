"""The shadow slot over a signed repository: the same trust as any bundle, and no floor, slot or trial of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.installs import MODEL, Board, check_that_says, offer_of
from tests.samples import NOW, Publisher, bundle

from sprat_device.contract.errors import ContractError
from sprat_device.contract.ids import Channel, Digest
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed, Offer
from sprat_device.install.floors import ReleaseFloors
from sprat_device.install.origins import FolderOrigin
from sprat_device.install.roles import is_shadow, model_of, parse_key, shadow_of

pytestmark = pytest.mark.integration


class CountingOrigin(FolderOrigin):
    """A folder that counts the bundles that are fetched from it."""

    fetched = 0

    def target(self, *given: object) -> object:  # type: ignore[override]
        self.fetched += 1
        return super().target(*given)  # type: ignore[arg-type]


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=NOW)
        self.offers = [self.release(b"one"), self.release(b"two"), self.release(b"three")]
        self.origin = CountingOrigin(self.publisher.folder / "repository")

    def release(self, fill: bytes) -> Offer:
        path = bundle(self.folder / f"{fill.decode()}.sprat", fill=fill)
        return offer_of(self.publisher.release(path), path, rollout=fill.decode())

    def board(self) -> Board:
        board = Board(self.folder / "state", self.publisher, origin=self.origin)
        board.installer.boot()
        return board


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def board(world: World) -> Board:
    board = world.board()
    board.install(world.offers[0])
    board.installer.events()
    return board


def shadowed(board: Board, offer: Offer) -> None:
    board.installer.offer_shadow(MODEL, offer)
    board.run_until_trial()


def phase(board: Board) -> tuple[Phase, str]:
    report = board.installer.shadow_report(MODEL)
    return report.phase, report.reason


def active(board: Board) -> str:
    held = board.installer.active(MODEL)
    return held[0].bundle if held else ""


def bundles(board: Board) -> set[str]:
    return {path.stem for path in (board.state / "bundles").iterdir()}


def test_a_shadow_comes_the_same_way_and_changes_neither_slots_nor_floor(world: World, board: Board) -> None:
    before = board.installer.reports()[MODEL]
    shadowed(board, world.offers[2])
    assert phase(board) == (Phase.CHECKED, "")
    ready = board.installer.shadow(MODEL)
    assert ready is not None
    assert ready[0] == Installed(world.offers[2].bundle, 3)
    assert ready[1].exists()
    assert board.installer.reports()[MODEL] == before
    assert ReleaseFloors(board.files, board.state).of(MODEL) == 1
    told = [(code, detail.get("role")) for code, detail in board.installer.events()]
    assert told == [("install-fetching", "shadow"), ("install-checked", "shadow")]


def test_it_stays_through_restarts_and_the_same_offer_again_changes_nothing(world: World, board: Board) -> None:
    shadowed(board, world.offers[1])
    again = world.board()
    assert again.installer.shadow(MODEL) is not None
    again.installer.offer_shadow(MODEL, world.offers[1])
    again.run_until_trial()
    assert again.installer.events() == []
    assert active(again) == world.offers[0].bundle


def test_offered_for_real_its_file_is_not_fetched_again(world: World, board: Board) -> None:
    shadowed(board, world.offers[1])
    fetched = world.origin.fetched
    board.install(world.offers[1])
    assert (active(board), world.origin.fetched) == (world.offers[1].bundle, fetched)
    assert board.installer.shadow(MODEL) is None, "what answers needs no shadow of itself"
    board.installer.offer_shadow(MODEL, None)
    assert active(board) in bundles(board)


def test_what_is_no_longer_wanted_is_removed_unless_a_slot_holds_it(world: World, board: Board) -> None:
    shadowed(board, world.offers[1])
    board.installer.offer_shadow(MODEL, None)
    assert phase(board) == (Phase.IDLE, "")
    assert board.installer.shadow(MODEL) is None
    assert bundles(board) == {world.offers[0].bundle}
    board.installer.offer_shadow(MODEL, None)
    assert [code for code, _ in board.installer.events()][-1] == "install-idle"


def test_a_newer_shadow_takes_the_place_of_the_older(world: World, board: Board) -> None:
    shadowed(board, world.offers[1])
    shadowed(board, world.offers[2])
    ready = board.installer.shadow(MODEL)
    assert ready is not None
    assert ready[0].bundle == world.offers[2].bundle
    assert bundles(board) == {world.offers[0].bundle, world.offers[2].bundle}


def test_a_trial_beside_it_leaves_the_shadow_alone(world: World, board: Board) -> None:
    shadowed(board, world.offers[2])
    board.installer.offer(MODEL, world.offers[1])
    board.run_until_trial()
    board.predict(4, ok=False)
    board.installer.tick()
    assert active(board) == world.offers[0].bundle
    assert bundles(board) == {world.offers[0].bundle, world.offers[2].bundle}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"channel": Channel("stable")}, Reason.NOT_PINNED),
        ({"bundle": Digest("0" * 64)}, Reason.HASH_MISMATCH),
        ({"release_seq": 9}, Reason.NOT_LISTED),
    ],
)
def test_what_is_not_signed_for_this_device_is_refused(
    world: World, board: Board, change: dict[str, object], reason: Reason
) -> None:
    shadowed(board, replace(world.offers[1], **change))  # type: ignore[arg-type]
    assert phase(board) == (Phase.REFUSED, reason)
    assert bundles(board) == {world.offers[0].bundle}


def test_a_shadow_below_the_floor_is_refused(world: World, board: Board) -> None:
    board.install(world.offers[1])
    shadowed(board, world.offers[0])
    assert phase(board) == (Phase.REFUSED, Reason.BELOW_FLOOR)
    assert world.offers[0].bundle in bundles(board), "it is the spare"


def test_a_shadow_that_fails_its_golden_set_is_refused_and_not_tried_for_ever(world: World, board: Board) -> None:
    fails = check_that_says({"ok": False, "reason": "golden-mismatch", "detail": "3 off"}, code=1)
    board.with_ports(check=fails)
    shadowed(board, world.offers[1])
    assert phase(board) == (Phase.REFUSED, Reason.GOLDEN_MISMATCH)
    for attempt in range(board.settings.attempts):
        shadowed(board, replace(world.offers[1], rollout=f"again-{attempt}"))
    assert phase(board) == (Phase.REFUSED, Reason.ATTEMPTS_SPENT)


def test_a_lost_file_is_fetched_again_at_the_next_start(world: World, board: Board) -> None:
    shadowed(board, world.offers[1])
    (board.state / "bundles" / f"{world.offers[1].bundle}.sprat").unlink()
    again = world.board()
    assert again.installer.shadow(MODEL) is None
    again.run_until_trial()
    assert again.installer.shadow(MODEL) is not None


def test_keys_of_shadows_are_no_names_of_models() -> None:
    key = shadow_of(MODEL)
    assert (is_shadow(key), model_of(key), parse_key(key)) == (True, MODEL, key)
    assert (is_shadow(MODEL), model_of(MODEL), parse_key(MODEL)) == (False, MODEL, MODEL)
    for bad in ("+shadow", "a+b", "../x+shadow"):
        with pytest.raises(ContractError):
            parse_key(bad)


def test_an_updater_that_fails_again_and_again_is_given_up(world: World, board: Board) -> None:
    class Fails:
        def poll(self) -> int:
            return 1

        def stop(self) -> None:
            pass

    board.installer._updating._launch = lambda _key: Fails()
    board.installer.offer_shadow(MODEL, world.offers[1])
    for _ in range(3 * board.settings.updater_attempts):
        board.installer.tick()
        board.clock.advance(100)
    assert phase(board) == (Phase.REFUSED, Reason.UPDATER_FAILED)
    codes = [code for code, detail in board.installer.events() if detail.get("role") == "shadow"]
    assert codes.count("updater-failed") == board.settings.updater_attempts
    assert codes[-1] == "install-refused"

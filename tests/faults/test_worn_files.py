"""One small file that a worn block has damaged, or that the disk no longer gives, keeps no device from its work."""

from __future__ import annotations

import errno
import json
import os
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.brokers import TestAuthority
from tests.daemons import MODEL as TINY
from tests.daemons import Agent, make_state
from tests.installs import MODEL, Board, offer_of
from tests.samples import NOW, Publisher, bundle

from sprat_device.agent.desired import DesiredState
from sprat_device.board import identity as identities
from sprat_device.board import state as layout
from sprat_device.board import twice
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.runs import Runs
from sprat_device.contract.errors import BundleRefused, MachineLacks
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.twin import Desired, Offer
from sprat_device.install.floors import ReleaseFloors
from sprat_device.install.hours import deferral
from sprat_device.install.look_record import Look, load, store

pytestmark = pytest.mark.faults
SMALL = ("state", "runs", "desired", "begun", "budget", "look", "defer", "status", "runtimes")


class Worn(OsFiles):
    """A disk that does not give some files, and does not take others."""

    def __init__(self, *unread: str, unwritten: tuple[str, ...] = ()) -> None:
        self.unread = unread
        self.unwritten = unwritten

    def read(self, path: Path) -> bytes:
        if path.exists() and path.name in self.unread:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return super().read(path)

    def write_atomic(self, path: Path, data: bytes) -> None:
        if path.name in self.unwritten:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        super().write_atomic(path, data)


class World:
    """A device on which the second of two releases is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=NOW)
        self.offers = [self._release(fill) for fill in (b"one", b"two", b"three")]
        board = self.board()
        for offer in self.offers[:2]:
            board.install(offer)

    def _release(self, fill: bytes) -> Offer:
        path = bundle(self.folder / f"{fill.decode()}.sprat", fill=fill)
        return offer_of(self.publisher.release(path), path, rollout=fill.decode())

    def board(self, files: OsFiles | None = None) -> Board:
        board = Board(self.folder / "state", self.publisher, files=files)
        board.installer.boot()
        return board

    def bundles(self) -> int:
        return len(list((self.folder / "state/bundles").glob("*.sprat")))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def active(board: Board) -> str:
    held = board.installer.active(MODEL)
    return held[0].bundle if held else ""


@pytest.mark.parametrize("damage", [b"", b"\xff\x00\xff", b"[7]"])
def test_an_agent_whose_small_files_are_all_damaged_starts_and_answers(tmp_path: Path, damage: bytes) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = make_state(tmp_path / "state", TestAuthority(tmp_path), port)
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        folder.mkdir()
    with closing(Agent(state, first)) as agent:
        agent.ready()
        assert agent.end() == 0
    whole = (state / "identity/identity.json").read_bytes()
    for name in SMALL:
        (state / f"{name}.json").write_bytes(damage)
    for path in (state / "identity/identity.json", state / f"slots/{TINY}.json", state / "reported.version"):
        path.write_bytes(damage)
    with closing(Agent(state, again)) as agent:
        agent.ready()
        agent.says("answers on")
        assert agent.end() == 0
    assert (state / "identity/identity.json").read_bytes() == whole
    assert json.loads((state / f"slots/{TINY}.json").read_bytes())["active"]


def test_an_identity_that_is_damaged_twice_names_the_remedy_and_one_that_is_gone_is_none(world: World) -> None:
    state = world.folder / "state"
    identities.store(world.board().identity, OsFiles())
    path = state / "identity/identity.json"
    path.write_bytes(b"{")
    assert identities.load(state).models == (MODEL,)
    twice.copy_of(path).write_bytes(b"{")
    with pytest.raises(MachineLacks, match=r"is damaged .*; enrol this device again"):
        identities.load(state)
    identities.store(world.board().identity, OsFiles())
    path.unlink()  # who removes it means that
    with pytest.raises(MachineLacks, match="no identity in"):
        identities.load(state)


def test_a_device_of_before_gets_its_copy_and_an_old_copy_is_renewed(world: World) -> None:
    board = world.board()
    identities.store(board.identity, OsFiles())
    path = board.state / "identity/identity.json"
    twice.copy_of(path).unlink()
    identities.keep_copy(board.identity, OsFiles())
    assert twice.copy_of(path).read_bytes() == path.read_bytes()
    twice.copy_of(path).write_bytes(b"{}")
    identities.keep_copy(board.identity, OsFiles())
    assert twice.copy_of(path).read_bytes() == path.read_bytes()
    identities.keep_copy(board.identity, Worn(unwritten=(twice.copy_of(path).name,)))


@pytest.mark.parametrize("unread", [(f"{MODEL}.json",), (f"{MODEL}.json", f"{MODEL}.json.copy")])
def test_slots_and_install_that_the_disk_does_not_give_cost_no_bundle(world: World, unread: tuple[str, ...]) -> None:
    board = world.board(Worn(*unread))
    assert world.bundles() == 2
    assert active(board) == (world.offers[1].bundle if len(unread) == 1 else "")
    told = [code for code, _ in board.installer.events()]
    assert ("slots-restored" in told) is (len(unread) == 1)
    board = world.board()  # it was the moment
    assert (active(board), world.bundles()) == (world.offers[1].bundle, 2)


def test_slots_that_are_lost_while_a_refusal_stands_in_the_record_are_read_from_their_copy(world: World) -> None:
    board = world.board()
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    board.predict(4, ok=False)
    board.installer.tick()
    assert board.record.phase is Phase.REVERTED
    (board.state / f"slots/{MODEL}.json").write_bytes(b"\xff")
    again = world.board()
    assert active(again) == world.offers[1].bundle
    assert json.loads((board.state / f"slots/{MODEL}.json").read_bytes())["active"]["bundle"] == active(again)


@pytest.mark.parametrize("unwritten", ["release-floors.a", "release-floors.b", f"{MODEL}.json", f"{MODEL}.json.copy"])
def test_what_the_disk_does_not_take_at_a_start_ends_no_start(world: World, unwritten: str) -> None:
    board = world.board()
    board.installer.offer(MODEL, world.offers[2])
    board.run_until_trial()
    assert board.record.phase is Phase.TRIAL
    again = world.board(Worn(unwritten=(unwritten,)))
    assert active(again) == world.offers[2].bundle
    told = [code for code, _ in again.installer.events()]
    assert ("disk-failed" in told) is (unwritten == f"{MODEL}.json")


@pytest.mark.parametrize("side", ["a", "b"])
def test_one_record_of_the_floors_that_is_not_given_leaves_the_other(world: World, side: str) -> None:
    state = world.folder / "state"
    assert ReleaseFloors(Worn(f"release-floors.{side}"), state).of(MODEL) in (1, 2)
    with pytest.raises(BundleRefused, match="all records of release-floors are damaged"):
        ReleaseFloors(Worn("release-floors.a", "release-floors.b"), state).of(MODEL)


def test_a_wish_that_cannot_be_read_is_no_wish_for_nothing(world: World) -> None:
    state = world.folder / "state"
    wanted = Desired(incarnation="i", version=3, offers={MODEL: world.offers[1]})
    assert DesiredState(state, OsFiles()).take(wanted)
    assert DesiredState(state, OsFiles()).known
    worn = DesiredState(state, Worn("desired.json"))
    assert not worn.known
    assert worn.take(replace(wanted, version=3)), "the hub's retained word is taken anew"
    assert worn.known


def test_counts_and_numbers_begin_anew(world: World) -> None:
    state, files = world.folder / "state", Worn("state.json", "runs.json", unwritten=("state.json", "runs.json"))
    for _ in range(2):
        assert layout.prepare(state, files, agent="9").layout in (1, layout.LAYOUT)
        runs = Runs(state, files, boot_id=bytes(16))
        runs.begin()
        assert runs.this.starts == 1
    layout.prepare(state, OsFiles(), agent="9")
    Runs(state, OsFiles(), boot_id=bytes(16)).begin()
    assert layout.prepare(state, files, agent="9").layout == layout.LAYOUT
    runs = Runs(state, files, boot_id=bytes(16))
    runs.begin()
    assert runs.this.starts == 1


def test_a_look_and_a_deferral_that_cannot_be_read_are_none(world: World) -> None:
    state, files = world.folder / "state", Worn("look.json", "defer.json")
    for found in (Look(desired="x"), Look(desired="y")):
        store(found, state, files)
        assert load(state, OsFiles()) == found
    assert load(state, files) is None
    (state / "defer.json").write_text("{}")
    assert deferral(state, files, SystemClock()) == 0.0

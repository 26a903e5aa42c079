"""Cut the power before every write of a whole install: the old or the new bundle runs, floors hold, it finishes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.faults.disk import CuttingFiles, Loss, PowerCut
from tests.installs import MODEL, Board, offer_of
from tests.samples import NOW, Publisher, bundle

from sprat_device.board.files import OsFiles
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.twin import Offer
from sprat_device.install.floors import PairedRecord, ReleaseFloors

pytestmark = pytest.mark.faults


class World:
    """Two releases, and a device that runs the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=NOW)
        one, two = bundle(folder / "1.sprat", fill=b"one"), bundle(folder / "2.sprat", fill=b"two", size=600_000)
        self.first = offer_of(self.publisher.release(one), one)
        board = Board(folder / "device", self.publisher)
        board.installer.boot()
        board.install(self.first)
        assert board.record.phase is Phase.CONFIRMED
        self.second = offer_of(self.publisher.release(two), two, rollout="r2")

    def device(self, name: str) -> Path:
        return Path(shutil.copytree(self.folder / "device", self.folder / name))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("cuts"))


def _whole_install(board: Board, offer: Offer) -> None:
    board.installer.boot()
    board.install(offer)


def _operations(world: World, name: str) -> int:
    files = CuttingFiles()
    board = Board(world.device(name), world.publisher, files=files)
    _whole_install(board, world.second)
    assert board.record.phase is Phase.CONFIRMED
    return files.operations


@pytest.mark.slow
@pytest.mark.parametrize("loss", list(Loss))
def test_every_cut_of_an_install(world: World, loss: Loss) -> None:
    count = _operations(world, f"count-{loss}")
    assert count > 30  # else the sweep sweeps nothing
    for cut_at in range(1, count + 1):
        state = world.device(f"{loss}-{cut_at}")
        board = Board(state, world.publisher, files=CuttingFiles(cut_at, loss=loss))
        with pytest.raises(PowerCut):
            _whole_install(board, world.second)
        _boots_and_finishes(world, state, f"cut {cut_at} of {count}, {loss}")
        shutil.rmtree(state)


def _boots_and_finishes(world: World, state: Path, where: str) -> None:
    floors = PairedRecord(OsFiles(), state / "floors").load()["roles"]
    board = Board(state, world.publisher)
    board.installer.boot()
    active = board.installer.active(MODEL)
    assert active is not None, where
    assert active[0].bundle in (world.first.bundle, world.second.bundle), where
    assert active[1].exists(), where
    assert floors["canary"]["version"] >= 2, where
    assert ReleaseFloors(OsFiles(), state).of(MODEL) >= world.first.release_seq, where
    board.installer.offer(MODEL, world.second)  # the hub's desired state is retained: it comes again
    board.run_until_trial()
    if board.record.phase is Phase.TRIAL:
        board.predict(8)
        board.installer.tick()
    assert board.record.phase is Phase.CONFIRMED, f"{where}: {board.record}"
    again = board.installer.active(MODEL)
    assert again is not None, where
    assert again[0].bundle == world.second.bundle, where
    assert ReleaseFloors(OsFiles(), state).of(MODEL) == world.second.release_seq, where


def test_cut_while_reverting_goes_back_to_the_old_bundle(world: World) -> None:
    def trial_then_fail(board: Board) -> None:
        board.installer.boot()
        board.installer.offer(MODEL, world.second)
        board.run_until_trial()
        board.predict(4, ok=False)
        board.installer.tick()

    files = CuttingFiles()
    board = Board(world.device("revert-count"), world.publisher, files=files)
    board.installer.boot()
    board.installer.offer(MODEL, world.second)
    board.run_until_trial()
    first_of_revert = files.operations + 1
    board.predict(4, ok=False)
    board.installer.tick()
    assert board.record.phase is Phase.REVERTED
    for cut_at in range(first_of_revert, files.operations + 1):
        state = world.device(f"revert-{cut_at}")
        with pytest.raises(PowerCut):
            trial_then_fail(Board(state, world.publisher, files=CuttingFiles(cut_at)))
        board = Board(state, world.publisher)
        board.installer.boot()
        if board.record.phase is Phase.TRIAL:  # the verdict was lost with the power: the trial goes on
            board.predict(8, ok=False)
            board.installer.tick()
        active = board.installer.active(MODEL)
        assert board.record.phase is Phase.REVERTED
        assert active is not None
        assert active[0].bundle == world.first.bundle
        assert active[1].exists()
        assert ReleaseFloors(OsFiles(), state).of(MODEL) == world.first.release_seq


@pytest.mark.parametrize("phase", [Phase.FETCHING, Phase.TRIAL])
def test_cut_while_an_offer_is_taken_back(world: World, phase: Phase) -> None:
    def begin(board: Board) -> None:
        board.installer.boot()
        board.installer.offer(MODEL, world.second)
        if phase is Phase.TRIAL:
            board.run_until_trial()
        assert board.record.phase is phase

    files = CuttingFiles()
    board = Board(world.device(f"back-{phase}"), world.publisher, files=files)
    begin(board)
    before = files.operations
    board.installer.withdraw(MODEL)
    assert files.operations > before
    for cut_at in range(before + 1, files.operations + 1):
        state = world.device(f"back-{phase}-{cut_at}")
        cutting = Board(state, world.publisher, files=CuttingFiles(cut_at))
        begin(cutting)
        with pytest.raises(PowerCut):
            cutting.installer.withdraw(MODEL)
        again = Board(state, world.publisher)
        again.installer.boot()
        again.installer.withdraw(MODEL)  # the twin still offers nothing
        again.run_until_trial()
        active = again.installer.active(MODEL)
        assert again.record.phase is (Phase.REVERTED if phase is Phase.TRIAL else Phase.IDLE)
        assert active is not None
        assert active[0].bundle == world.first.bundle
        assert active[1].exists()


@pytest.mark.parametrize("loss", [Loss.LOST, Loss.TORN])
def test_every_cut_of_a_devices_first_install(world: World, loss: Loss) -> None:
    """A device that never had a bundle runs none or the new one, and never ends up locked out."""
    files = CuttingFiles()
    _whole_install(Board(world.folder / f"fresh-{loss}", world.publisher, files=files), world.second)
    for cut_at in range(1, files.operations + 1):
        state = world.folder / f"fresh-{loss}-{cut_at}"
        with pytest.raises(PowerCut):
            _whole_install(Board(state, world.publisher, files=CuttingFiles(cut_at, loss=loss)), world.second)
        board = Board(state, world.publisher)
        board.installer.boot()
        active = board.installer.active(MODEL)
        assert active is None or (active[0].bundle == world.second.bundle and active[1].exists())
        board.installer.offer(MODEL, world.second)
        board.run_until_trial()
        if board.record.phase is Phase.TRIAL:
            board.predict(8)
            board.installer.tick()
        assert board.record.phase is Phase.CONFIRMED
        shutil.rmtree(state)

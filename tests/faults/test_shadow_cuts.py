"""Cut the power at every write of a shadow's install and removal, and of the budget of captures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.faults.disk import CuttingFiles, Loss, PowerCut
from tests.installs import MODEL, Board, offer_of
from tests.samples import NOW, Publisher, bundle

from sprat_device.board.days import DAY_US, Moment
from sprat_device.contract.capture import Rule
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.inference.capturing.budget import Budget
from sprat_device.install.floors import ReleaseFloors

pytestmark = pytest.mark.faults
LATE = Moment(0, 20_371 * DAY_US + DAY_US * 95 // 100, synchronised=True)


class World:
    """Two releases, and a device that runs the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=NOW)
        one, two = bundle(folder / "1.sprat", fill=b"one"), bundle(folder / "2.sprat", fill=b"two")
        self.first = offer_of(self.publisher.release(one), one)
        board = Board(folder / "device", self.publisher)
        board.installer.boot()
        board.install(self.first)
        self.second = offer_of(self.publisher.release(two), two, rollout="r2")

    def device(self, name: str) -> Path:
        return Path(shutil.copytree(self.folder / "device", self.folder / name))

    def come_and_go(self, board: Board) -> None:
        """Take a shadow to where it may run, then let it be wanted no more."""
        board.installer.boot()
        board.installer.offer_shadow(MODEL, self.second)
        board.run_until_trial()
        assert board.installer.shadow(MODEL) is not None
        board.installer.offer_shadow(MODEL, None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("cuts"))


@pytest.mark.slow
@pytest.mark.parametrize("loss", list(Loss))
def test_every_cut_of_a_shadow_leaves_what_answers_as_it_is(world: World, loss: Loss) -> None:
    files = CuttingFiles()
    world.come_and_go(Board(world.device(f"count-{loss}"), world.publisher, files=files))
    assert files.operations > 30  # else the sweep sweeps nothing
    for cut_at in range(1, files.operations + 1):
        state = world.device(f"{loss}-{cut_at}")
        with pytest.raises(PowerCut):
            world.come_and_go(Board(state, world.publisher, files=CuttingFiles(cut_at, loss=loss)))
        board = Board(state, world.publisher)
        board.installer.boot()
        where = f"cut {cut_at} of {files.operations}, {loss}"
        held = board.installer.active(MODEL)
        assert held is not None, where
        assert (held[0].bundle, held[1].exists()) == (world.first.bundle, True), where
        world.come_and_go(board)
        assert board.installer.shadow_report(MODEL).phase is Phase.IDLE, where
        assert [path.stem for path in (state / "bundles").iterdir()] == [world.first.bundle], where
        assert ReleaseFloors(board.files, state).of(MODEL) == world.first.release_seq, where
        shutil.rmtree(state)


@pytest.mark.parametrize("loss", list(Loss))
def test_no_cut_gives_a_day_s_bytes_twice(tmp_path: Path, loss: Loss) -> None:
    cut_at = 0
    while True:
        cut_at += 1
        path = tmp_path / f"{cut_at}" / "budget.json"
        path.parent.mkdir()
        spent = 0
        try:
            mine = Budget(CuttingFiles(cut_at, loss=loss), path, {Rule.RANDOM: 1000})
            while mine.spend(Rule.RANDOM, 10, now=LATE):
                spent += 10
            break  # the cut came after all of it
        except PowerCut:
            again = Budget(CuttingFiles(), path, {Rule.RANDOM: 1000})
            while again.spend(Rule.RANDOM, 10, now=LATE):
                spent += 10
        assert spent <= 1000, f"cut {cut_at}, {loss}"
    assert cut_at > 100  # else the sweep sweeps nothing

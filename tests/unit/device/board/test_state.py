"""The state folder's layout: what an older agent left is understood, what a newer one left is refused, cuts do no harm.

`layout-1` is the folder of an agent as it was before the layout had a number: two installs, a spool with frames that wait.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.faults.disk import CuttingFiles, Loss, PowerCut
from tests.spools import open_spool, waiting

from sprat_device.board import identity, state
from sprat_device.board.files import Files, OsFiles
from sprat_device.board.state import LAYOUT, Layout
from sprat_device.contract import twin
from sprat_device.contract.errors import MachineLacks
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import InstallPhase
from sprat_device.contract.twin import Installed
from sprat_device.install.floors import ReleaseFloors
from sprat_device.install.record import Records
from sprat_device.install.slots import Slots

MODEL = ModelName("digits")
OLD = Path(__file__).with_name("layout-1")
ACTIVE = Installed(Digest("bd4c4420ffe1bdb37ab14c26d34c60f2d7326becabf1688187b7d9db1b274fa8"), 2)
SPARE = Installed(Digest("48e8cc37c0ef6d3a33af1191579b379d6c5619346fd16bf87124a75df1bc25cb"), 1)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "state"))


def _prepare(folder: Path, files: Files | None = None) -> Layout:
    return state.prepare(folder, files or OsFiles(), agent="9.9")


def _require_kept(folder: Path) -> None:
    """Every room finds what it had."""
    files = OsFiles()
    found = identity.load(folder)
    assert (found.device, found.models) == ("d1", (MODEL,))
    slots = Slots(files, folder)
    pair = slots.load(MODEL)
    assert (pair.active, pair.spare) == (ACTIVE, SPARE)
    assert all(slots.path(held.bundle).stat().st_size == 5313 for held in (ACTIVE, SPARE))
    assert Records(files, folder).load(MODEL).phase is InstallPhase.CONFIRMED
    assert ReleaseFloors(files, folder).of(MODEL) == 2
    assert twin.parse_desired((folder / "desired.json").read_bytes()).version == 2
    spool = open_spool(folder / "spool", first_epoch=99)
    assert {epoch for epoch, _, _ in waiting(spool)} == {1}
    assert len(waiting(spool)) >= 7


def test_what_the_agent_before_left_is_understood(old: Path) -> None:
    assert _prepare(old).layout == 1
    assert state.read(old, OsFiles()) == Layout(LAYOUT, state.OLDEST, "9.9")
    _require_kept(old)


def test_a_fresh_folder_begins_in_this_layout_and_brings_nothing_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "identity").mkdir()  # enrolled, and never run
    with caplog.at_level("INFO", logger="sprat.agent"):
        assert _prepare(tmp_path) == Layout(LAYOUT, state.OLDEST, "9.9")
    assert state.read(tmp_path, OsFiles()) == Layout(LAYOUT, state.OLDEST, "9.9")
    assert not caplog.records


def test_a_folder_of_this_layout_is_left_as_it_is(old: Path) -> None:
    _prepare(old)
    written = (old / state.FILE_NAME).read_bytes()
    assert state.prepare(old, OsFiles(), agent="10.0").layout == LAYOUT
    assert (old / state.FILE_NAME).read_bytes() == written


@pytest.mark.parametrize("loss", Loss)
def test_a_cut_at_any_write_leaves_a_folder_that_the_next_start_brings_on(tmp_path: Path, loss: Loss) -> None:
    counting = CuttingFiles()
    _prepare(Path(shutil.copytree(OLD, tmp_path / "counted")), counting)
    for n in range(1, counting.operations + 1):
        folder = Path(shutil.copytree(OLD, tmp_path / f"{n}"))
        with pytest.raises(PowerCut):
            _prepare(folder, CuttingFiles(n, loss=loss))
        _prepare(folder)
        assert state.read(folder, OsFiles()).layout == LAYOUT
        _require_kept(folder)


def _move_twins(folder: Path, files: Files) -> None:
    """Move a file into a folder of its own, as a later layout may."""
    files.make_folder(folder / "twins")
    if files.exists(folder / "desired.json"):
        files.rename(folder / "desired.json", folder / "twins/desired.json")
    files.sync_folder(folder / "twins")
    files.sync_folder(folder)


def _rename_again(folder: Path, files: Files) -> None:
    if files.exists(folder / "twins/desired.json"):
        files.rename(folder / "twins/desired.json", folder / "twins/wishes.json")
    files.sync_folder(folder / "twins")


STEPS = {1: _move_twins, 2: _rename_again}


@pytest.mark.parametrize("loss", Loss)
def test_migrations_in_a_row_bear_a_cut_at_any_write(tmp_path: Path, loss: Loss) -> None:
    wanted = (OLD / "desired.json").read_bytes()

    def migrate(folder: Path, files: Files) -> None:
        state.prepare(folder, files, agent="9.9", layout=3, migrations=STEPS)

    def begin(name: str) -> Path:
        (tmp_path / name / "spool").mkdir(parents=True)  # an agent has run here
        (tmp_path / name / "desired.json").write_bytes(wanted)
        return tmp_path / name

    counting = CuttingFiles()
    migrate(begin("counted"), counting)
    assert counting.operations > 10
    for n in range(1, counting.operations + 1):
        folder = begin(str(n))
        with pytest.raises(PowerCut):
            migrate(folder, CuttingFiles(n, loss=loss))
        migrate(folder, OsFiles())
        assert (folder / "twins/wishes.json").read_bytes() == wanted
        assert state.read(folder, OsFiles()).layout == 3


def _written(folder: Path, **fields: object) -> None:
    (folder / state.FILE_NAME).write_text(json.dumps({"schema": state.SCHEMA, **fields}))


def test_a_folder_of_a_newer_agent_is_refused_in_one_line_and_left(tmp_path: Path) -> None:
    _written(tmp_path, layout=LAYOUT + 2, oldest=LAYOUT + 1, agent="3.1")
    before = (tmp_path / state.FILE_NAME).read_bytes()
    with pytest.raises(
        MachineLacks, match=r"written by agent 3\.1 in layout 4, .* up to 2; install agent 3\.1 or a newer"
    ):
        _prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [state.FILE_NAME]
    assert (tmp_path / state.FILE_NAME).read_bytes() == before


def test_a_newer_folder_that_this_agent_may_use_is_used(tmp_path: Path) -> None:
    _written(tmp_path, layout=LAYOUT + 1, oldest=LAYOUT, agent="3.1")
    assert _prepare(tmp_path).layout == LAYOUT + 1
    assert state.read(tmp_path, OsFiles()).layout == LAYOUT + 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "sprat.other/1"}', '{"schema": "sprat.state/1", "layout": "x"}']
)
def test_a_damaged_file_stops_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / state.FILE_NAME).write_text(text)
    assert _prepare(tmp_path).layout == LAYOUT

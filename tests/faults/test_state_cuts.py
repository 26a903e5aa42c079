"""The power is cut at every write of the small files of the state folder: each holds the old or the new, never neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.disk import CuttingFiles, Loss, PowerCut

from sprat_device.agent.desired import DesiredState
from sprat_device.board.files import Files, OsFiles
from sprat_device.commands import Once
from sprat_device.contract.twin import Desired, Detail, TelemetrySettings

pytestmark = pytest.mark.faults


def _desired(version: int) -> Desired:
    return Desired("i", version, telemetry=TelemetrySettings(detail=Detail.SUMMARY, daily_bytes=version))


def _cuts(folder: Path, loss: Loss, life: Callable[[Path, Files], None]) -> list[Path]:
    """Live once for each cut; return what each left."""
    counting = CuttingFiles()
    (folder / "whole").mkdir()
    life(folder / "whole", counting)
    left = []
    for cut_at in range(1, counting.operations + 1):
        left.append(folder / str(cut_at))
        left[-1].mkdir()
        with pytest.raises(PowerCut):
            life(left[-1], CuttingFiles(cut_at, loss=loss))
    assert len(left) > 10
    return left


@pytest.mark.parametrize("loss", Loss)
def test_the_desired_state_goes_from_one_to_the_next(tmp_path: Path, loss: Loss) -> None:
    taken = dict[Path, int]()

    def life(folder: Path, files: Files) -> None:
        state = DesiredState(folder, files)
        for version in (1, 2, 3):
            assert state.take(_desired(version))
            taken[folder] = version

    for folder in _cuts(tmp_path, loss, life):
        before = taken.get(folder, 0)
        again = DesiredState(folder, OsFiles())
        assert again.current.version in {before, before + 1}
        assert not before or again.current == _desired(again.current.version)
        assert again.take(_desired(9))


@pytest.mark.parametrize("loss", Loss)
def test_a_command_that_was_begun_is_not_begun_again(tmp_path: Path, loss: Loss) -> None:
    begun = dict[Path, list[bytes]]()

    def life(folder: Path, files: Files) -> None:
        once = Once(files, folder / "begun.json")
        for correlation in (b"one", b"two", b"three"):
            assert once.first(correlation)
            begun.setdefault(folder, []).append(correlation)

    for folder in _cuts(tmp_path, loss, life):
        again = Once(OsFiles(), folder / "begun.json")
        assert not any(again.first(correlation) for correlation in begun.get(folder, []))
        assert again.first(b"another")

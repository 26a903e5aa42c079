"""What `sprat-device status` says of the last errors, of refused wishes and of how runs ended, running or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sprat_device import status
from sprat_device.__main__ import main
from sprat_device.board import alone
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity, store
from sprat_device.board.volatile import VolatileReport
from sprat_device.contract.ids import Channel, DeviceId, Digest
from sprat_device.contract.last_errors import REMEDIES, LastError
from sprat_device.contract.twin import Installed, ModelReport, Reported

FAILED = LastError("source-failed", "door/second", "no port", 12, 1_795_286_400_000_000, 1_795_286_460_000_000)
REPORT = Reported(version=5, agent="1.0", channel="canary", clock="synchronised")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a device whose agent has run, and give this process a runtime folder."""
    folder, memory = tmp_path / "state", tmp_path / "run"
    (folder / "identity").mkdir(parents=True)
    memory.mkdir()
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(memory))
    store(Identity(DeviceId("d1"), "https://h", "h", 1883, Channel("canary"), (), folder / "identity"), OsFiles())
    (folder / "status.json").write_bytes(replace(REPORT, errors=(FAILED,)).dump())
    return folder


def _told(state: Path) -> list[str]:
    return [line.strip() for line in status.lines(status.read(state))]


def test_an_error_is_told_with_where_when_how_often_and_its_remedy(state: Path) -> None:
    told = _told(state)
    at = told.index("last errors, the newest first:")
    assert told[at + 1 : at + 3] == [
        "source-failed at door/second, 12 times since 2026-11-21 18:40:00Z, last 2026-11-21 18:41:00Z: no port",
        REMEDIES["source-failed"],
    ]


def test_an_input_that_does_not_fit_is_named(state: Path) -> None:
    (state / "status.json").write_bytes(replace(REPORT, facts={"unfit": {"door/second": "no rows.npy"}}).dump())
    assert "input door/second is NOT read: no rows.npy" in _told(state)


def test_a_single_error_of_a_later_version_has_no_remedy_and_no_place(state: Path) -> None:
    (state / "status.json").write_bytes(replace(REPORT, errors=(LastError("later", last_us=2**62),)).dump())
    told = _told(state)
    assert told[told.index("last errors, the newest first:") + 1] == "later, once, at a time of a wrong clock"
    (state / "status.json").write_bytes(REPORT.dump())
    assert "last errors: none" in _told(state)


def test_programs_get_them_with_the_remedy(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--state", str(state)]) == 0
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert error["remedy"] == REMEDIES["source-failed"]
    assert (error["code"], error["count"], error["first"]) == ("source-failed", 12, "2026-11-21 18:40:00Z")


def test_a_bundle_answers_only_while_the_agent_runs(state: Path) -> None:
    bundle = Digest("ab" * 32)
    model = ModelReport(active=Installed(bundle, 4), running=bundle, healthy=7)
    for running, said in ((bundle, "answered; 7 predictions"), ("", "is active, and did NOT answer; 7 predictions")):
        report = replace(REPORT, models={"door": replace(model, running=running)})
        (state / "status.json").write_bytes(report.dump())
        assert f"door: release 4 (abababababab) {said}" in " ".join(_told(state))
        with alone.hold(state):
            assert f"door: release 4 (abababababab) {'answers;' if running else 'is active, but does NOT'}" in " ".join(
                _told(state)
            )


def test_the_report_in_memory_counts_while_it_is_newer_than_the_disks(state: Path) -> None:
    held = VolatileReport(state)
    assert held.write(replace(REPORT, version=5, errors=(replace(FAILED, count=13),)).dump())
    assert "13 times" in " ".join(_told(state))
    (state / "status.json").write_bytes(replace(REPORT, version=1_000_000).dump())  # a later run, without such a folder
    assert "last errors: none" in _told(state)
    (state / "status.json").unlink()
    assert "13 times" in " ".join(_told(state))
    assert VolatileReport(state / "..").found() is None
    held.remove()
    assert main(["status", "--state", str(state)]) == 2


def test_the_units_folder_counts_before_the_sessions(tmp_path: Path) -> None:
    unit, session = tmp_path / "unit", tmp_path / "session"
    unit.mkdir()
    session.mkdir()
    held = VolatileReport(tmp_path, {"RUNTIME_DIRECTORY": f"{unit}:/other", "XDG_RUNTIME_DIR": str(session)})
    assert held.write(b"x")
    assert held.found() == next(unit.iterdir())
    assert not list(session.iterdir())
    assert next(unit.iterdir()).stat().st_mode & 0o777 == 0o600


def test_without_a_folder_in_memory_nothing_is_written_anywhere(tmp_path: Path) -> None:
    assert not VolatileReport(tmp_path, {}).write(b"x")
    assert not VolatileReport(tmp_path, {"XDG_RUNTIME_DIR": str(tmp_path / "gone")}).write(b"x")
    assert not list(tmp_path.iterdir())


def test_a_refused_wish_and_a_bad_end_are_told(state: Path) -> None:
    (state / "status.json").write_bytes(replace(REPORT, refused={"inputs": "remote.inputs is off"}).dump())
    runs = {"schema": "sprat.runs/1", "starts": 7, "crashes": 2, "boot_id": "", "end": "crash", "detail": "KeyError: 1"}
    (state / "runs.json").write_text(json.dumps(runs))
    told = _told(state)
    assert "the hub's wish for inputs is refused: remote.inputs is off" in told
    assert "the last run ended by a defect: KeyError: 1; the agent's log has more" in told
    (state / "runs.json").write_text(json.dumps({**runs, "end": "none"}))
    assert "2 of 7 runs ended by a defect or were killed" in _told(state)


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[]", b'{"schema": "sprat.reported/1", "version": "x"}'])
def test_a_damaged_report_is_one_line_with_its_remedy(
    state: Path, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "status.json").write_bytes(damage)
    assert main(["status", "--state", str(state)]) == 4
    said = capsys.readouterr().err
    assert said.endswith("status.json: cannot be read as a report; the agent writes it anew within five minutes\n")
    (state / "runs.json").write_bytes(damage)
    (state / "status.json").write_bytes(REPORT.dump())
    assert main(["status", "--state", str(state)]) == 0

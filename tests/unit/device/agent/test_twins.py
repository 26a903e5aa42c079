"""What the hub desires is kept before it counts, also on a disk that is full for a while."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.clock import ManualClock
from tests.faults.disk import FullDisk

from sprat_device.agent.twins import DesiredState, Reporter
from sprat_device.board.files import OsFiles
from sprat_device.contract.twin import Desired


def _desired(version: int, incarnation: str = "i") -> Desired:
    return Desired(incarnation=incarnation, version=version, log_level="debug")


def test_a_newer_state_or_another_incarnation_is_taken_and_outlives_a_restart(tmp_path: Path) -> None:
    state = DesiredState(tmp_path, OsFiles())
    assert state.take(_desired(3))
    assert not state.take(_desired(3))
    assert not state.take(_desired(2))
    assert state.take(_desired(1, "restored"))
    assert DesiredState(tmp_path, OsFiles()).current == _desired(1, "restored")


def test_what_the_disk_does_not_take_waits_for_it_and_does_not_count_before(tmp_path: Path) -> None:
    disk = FullDisk(room=10)
    state = DesiredState(tmp_path, disk)
    assert not state.take(_desired(3))
    assert (state.current.version, state.keep()) == (0, False)
    assert not state.take(_desired(4))
    assert not state.take(_desired(3))  # come late, by another way
    disk.room = 100_000
    assert state.keep()
    assert state.current == DesiredState(tmp_path, OsFiles()).current == _desired(4)
    assert not state.keep()


def test_counters_alone_are_told_often_and_written_every_five_minutes(tmp_path: Path) -> None:
    clock, counts, told = ManualClock(), [0], list[bytes]()
    parts: dict[str, Any] = {
        "identity": SimpleNamespace(channel="canary"),
        "installer": SimpleNamespace(reports=dict),
        "streams": SimpleNamespace(runtimes={}),
        "recorder": SimpleNamespace(ledger=lambda: {"events": {"produced": counts[0]}}),
    }
    reporter = Reporter(tmp_path, OsFiles(), clock, facts={}, publish=told.append, **parts)

    def written_after(seconds: float) -> int:
        clock.advance(seconds)
        counts[0] += 1
        reporter.report(_desired(1))
        return int(json.loads((tmp_path / "status.json").read_bytes())["ledger"]["events"]["produced"])

    assert [written_after(seconds) for seconds in (0, 10, 280, 10, 10)] == [1, 1, 1, 4, 4]
    assert len(told) == 5


@pytest.mark.parametrize(("kept", "first"), [(b"", 0), (b"\xff2", 0), (b"7", 7)])
def test_a_damaged_number_of_reports_ends_no_start(tmp_path: Path, kept: bytes, first: int) -> None:
    (tmp_path / "reported.version").write_bytes(kept)
    nobody = SimpleNamespace()
    reporter = Reporter(
        tmp_path, OsFiles(), ManualClock(), identity=nobody, installer=nobody, streams=nobody, recorder=nobody, facts={},  # type: ignore[arg-type]
        publish=lambda _document: None,
    )  # fmt: skip
    assert reporter.last.version == first
    assert int((tmp_path / "reported.version").read_bytes()) > first

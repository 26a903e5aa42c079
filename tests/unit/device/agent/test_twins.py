"""What the hub desires is kept before it counts, also on a disk that is full for a while."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.clock import ManualClock
from tests.faults.disk import FullDisk

from sprat_device.agent.desired import DesiredState
from sprat_device.agent.reporter import Reporter
from sprat_device.board.files import OsFiles
from sprat_device.contract import twin
from sprat_device.contract.twin import Desired, LaneReport, Reported
from sprat_device.telemetry.last_errors import LastErrors


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


class Bench:
    """A reporter, and what there is to report."""

    def __init__(self, state: Path) -> None:
        self.clock, self.told, self.errors = ManualClock(), list[Reported](), LastErrors()
        self.produced, self.free_kib, self.runtimes, self.unfit = 0, 100, dict[str, str](), dict[str, str]()
        parts: dict[str, Any] = {
            "identity": SimpleNamespace(channel="canary"),
            "installer": SimpleNamespace(reports=dict),
            "streams": self,
            "recorder": SimpleNamespace(ledger=self.ledger, last_errors=self.errors),
        }
        self.reporter = Reporter(
            state, OsFiles(), self.clock, facts=lambda: {"disk_free_kib": self.free_kib},
            publish=lambda raw: self.told.append(twin.parse_reported(raw)), **parts,
        )  # fmt: skip

    def ledger(self) -> dict[str, LaneReport]:
        return {"events": LaneReport("", self.produced, 0, 0, self.produced, 0, 0)}

    def after(self, seconds: float, *, produced: int = 1) -> int:
        """Move on, and return how many reports that brought."""
        self.clock.advance(seconds)
        self.produced += produced
        before = len(self.told)
        self.reporter.report(_desired(1))
        return len(self.told) - before


def test_counters_alone_are_told_often_after_a_change_and_seldom_later(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert [bench.after(seconds) for seconds in (0, 1, 1, 117, 2, 2, 30, 30)] == [1, 0, 1, 1, 0, 0, 0, 1]
    bench.runtimes = {"digits": "litert"}  # a change is told at once, and what follows it soon
    assert [bench.after(seconds) for seconds in (0, 1, 1)] == [1, 0, 1]


def test_where_nothing_has_changed_nothing_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert [bench.after(seconds, produced=0) for seconds in (0, 10, 3600)] == [1, 0, 0]
    bench.reporter.report(_desired(1), force=True)
    assert len(bench.told) == 2


def test_an_error_of_a_new_kind_is_told_soon_and_costs_no_write(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert [bench.after(seconds, produced=0) for seconds in (0, 200)] == [1, 0]
    written = (tmp_path / "status.json").read_bytes()
    bench.errors.saw("sink-failed", {"detail": "gone"}, model="door", wall_us=1)
    assert bench.after(1, produced=0) == 1
    bench.errors.saw("sink-failed", {"detail": "gone"}, model="door", wall_us=2)
    assert [bench.after(seconds, produced=0) for seconds in (1, 1, 1)] == [0, 1, 0]
    assert [(told.errors[0].code, told.errors[0].count) for told in bench.told[1:]] == [
        ("sink-failed", 1), ("sink-failed", 2),
    ]  # fmt: skip
    assert (tmp_path / "status.json").read_bytes() == written
    bench.after(300)
    assert twin.parse_reported((tmp_path / "status.json").read_bytes()).errors == bench.errors.told()


def test_an_input_that_is_not_read_any_more_is_told_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.after(0)
    bench.unfit = {"digits/a": "no such folder"}
    assert bench.after(0.1, produced=0) == 1
    assert bench.told[-1].facts["unfit"] == bench.unfit


def test_counters_are_written_every_five_minutes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def written_after(seconds: float) -> int:
        bench.after(seconds)
        return int(json.loads((tmp_path / "status.json").read_bytes())["ledger"]["events"]["produced"])

    assert [written_after(seconds) for seconds in (0, 10, 280, 60, 60)] == [1, 1, 1, 4, 4]


def test_each_report_tells_the_disk_of_its_moment_which_alone_is_no_news(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.after(0)
    bench.free_kib = 40
    assert bench.after(10, produced=0) == 0
    assert bench.after(10) == 1
    assert [told.facts["disk_free_kib"] for told in bench.told] == [100, 40]


def test_who_asks_gets_what_is_so_now(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.after(0)
    bench.produced = 7
    now = bench.reporter.now()
    assert (now.ledger["events"].produced, now.applied_version) == (7, 1)


@pytest.mark.parametrize(("kept", "first"), [(b"", 0), (b"\xff2", 0), (b"7", 7)])
def test_a_damaged_number_of_reports_ends_no_start(tmp_path: Path, kept: bytes, first: int) -> None:
    (tmp_path / "reported.version").write_bytes(kept)
    nobody = SimpleNamespace()
    reporter = Reporter(
        tmp_path, OsFiles(), ManualClock(), identity=nobody, installer=nobody, streams=nobody, recorder=nobody, facts=dict,  # type: ignore[arg-type]
        publish=lambda _document: None,
    )  # fmt: skip
    assert reporter.last.version == first
    assert int((tmp_path / "reported.version").read_bytes()) > first

"""The last errors: few, counted, with where and when; told through the recorder, and carried over a restart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.clock import ManualClock

import sprat_device
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract.last_errors import MOST, MOST_DETAIL, REMEDIES, LastError
from sprat_device.contract.phases import Reason
from sprat_device.telemetry.last_errors import LastErrors
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool

NO_ERRORS = frozenset({
    "agent-started", "agent-stopped", "bundle-loaded", "certificate-renewed", "detail", "input-back", "install-waits", "restart-needed",
    "settings-applied", "shadow-running", "shadow-waits", "sink-back", "source-back", "source-flowing",
})  # fmt: skip
"""Events that tell of life as it goes. A `gap` is none either: what it lost stands in the ledger."""


def _seen(errors: LastErrors) -> list[tuple[str, str, str, int]]:
    return [(error.code, error.at, error.detail, error.count) for error in errors.told()]


def test_an_error_is_counted_by_kind_and_place_and_the_newest_comes_first() -> None:
    errors = LastErrors()
    errors.saw("source-failed", {"kind": "serial", "input": "second", "detail": "no\n port"}, model="door", wall_us=10)
    errors.saw("agent-started", {"agent": "1"}, model="", wall_us=11)
    errors.saw("install-refused", {"model": "door", "reason": "no-ram", "detail": "needs 9 KiB"}, model="", wall_us=12)
    errors.saw("source-failed", {"kind": "serial", "input": "second", "detail": "gone"}, model="door", wall_us=13)
    errors.saw("clock-jumped", {"by_s": 3.5, "clock": "synchronised"}, model="", wall_us=14)
    assert _seen(errors) == [
        ("clock-jumped", "", "by_s 3.5, clock synchronised", 1),
        ("source-failed", "door/second", "gone", 2),
        ("install-refused", "door", "no-ram: needs 9 KiB", 1),
    ]
    assert [(error.first_us, error.last_us) for error in errors.told()] == [(14, 14), (10, 13), (12, 12)]


def test_each_output_is_a_place_of_its_own_by_its_name_or_kind() -> None:
    errors = LastErrors()
    errors.saw("sink-failed", {"output": "", "kind": "webhook", "detail": "refused"}, model="", wall_us=1)
    errors.saw("sink-failed", {"output": "gate", "kind": "command", "detail": "no such file"}, model="", wall_us=2)
    errors.saw("sink-overflow", {"output": "gate", "kind": "command", "dropped": 4}, model="", wall_us=3)
    assert _seen(errors) == [
        ("sink-overflow", "output gate", "dropped 4", 1),
        ("sink-failed", "output gate", "no such file", 1),
        ("sink-failed", "output webhook", "refused", 1),
    ]


def test_there_are_few_and_short_ones_whatever_comes() -> None:
    errors = LastErrors()
    for at in range(50):
        errors.saw("sink-failed", {"detail": "x" * 5000}, model=f"m{at}" + "y" * 500, wall_us=at)
    assert [error.last_us for error in errors.told()] == list(range(49, 49 - MOST, -1))
    assert all(len(error.detail) == MOST_DETAIL and len(error.at) <= 128 for error in errors.told())


def test_a_restart_goes_on_with_what_was_told_before() -> None:
    before = tuple(LastError("sink-failed", f"m{at}", "", 3, 1, 100 - at) for at in range(MOST))
    errors = LastErrors(before)
    assert errors.told() == before
    errors.saw("sink-failed", {}, model="m7", wall_us=200)
    errors.saw("look-failed", {"code": 3}, model="", wall_us=201)
    assert [error.at for error in errors.told()] == ["", "m7", "m0", "m1", "m2", "m3", "m4", "m5"]
    assert errors.told()[1] == LastError("sink-failed", "m7", "", 4, 1, 200)


def test_the_recorder_tells_of_every_event_that_is_an_error(tmp_path: Path) -> None:
    clock = ManualClock()
    recorder = Recorder(DiskSpool(OsFiles(), tmp_path, cap_bytes=1 << 20), clock, TelemetrySettings())
    recorder.event("not-loaded", {"bundle": "ab", "detail": "no runtime"}, model="door", bundle="ab")
    recorder.event("settings-applied", {"by": "file"})
    assert recorder.last_errors.told() == (
        LastError("not-loaded", "door", "no runtime", 1, clock.wall_us(), clock.wall_us()),
    )


def test_every_event_of_the_agent_has_a_remedy_or_is_none_of_the_errors() -> None:
    source = "".join(path.read_text() for path in Path(sprat_device.__file__).parent.rglob("*.py"))
    told = set(
        re.findall(r'(?:\.event|\b_event|\b_tell|\.tell|_events\.append|events\.append)\(\(?\s*"([a-z-]+)"', source)
    )
    told |= set(
        re.findall(r'^(?:STALLED|FLOWING|OVERFLOW|FAILED|BACK|REFUSED): Final = "([a-z-]+)"', source, re.MULTILINE)
    )
    assert len(told) > 30
    assert told - REMEDIES.keys() <= NO_ERRORS
    of_readings = {reason for reason in Reason if reason.startswith("input-")} | {Reason.RUN_FAILED, Reason.NON_FINITE}
    assert of_readings <= REMEDIES.keys()


@pytest.mark.parametrize("code", REMEDIES)
def test_a_remedy_is_one_short_line(code: str) -> None:
    assert 20 < len(REMEDIES[code]) <= 120
    assert not NO_ERRORS & {code}

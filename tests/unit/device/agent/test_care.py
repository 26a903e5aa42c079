"""Threads that hang, and a disk that fails: told once, and the watchdog is fed only while all is well."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.device.inference.bundles import KeptRecords

from sprat_device.agent.care import Care, Pulse
from sprat_device.board.clock import SystemClock
from sprat_device.board.notify import Notifier


def test_a_count_that_stands_still_is_late_until_it_rises() -> None:
    pulse = Pulse(limit_s=10)
    assert pulse.late({"a": 1, "b": 1}, 0.0) == []
    assert pulse.late({"a": 2, "b": 1}, 10.0) == []
    assert pulse.late({"a": 3, "b": 1}, 10.5) == ["b"]
    assert pulse.late({"a": 3, "b": 2}, 15.0) == []
    assert pulse.late({"a": 3}, 30.0) == ["a"]


def test_a_thread_that_begins_late_has_its_whole_time() -> None:
    pulse = Pulse(limit_s=10)
    pulse.late({"a": 1}, 0.0)
    assert pulse.late({"a": 2, "new": 0}, 100.0) == []
    assert pulse.late({"a": 3, "new": 0}, 109.0) == []
    assert pulse.late({"a": 4, "new": 0}, 111.0) == ["new"]


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        yield ear


def _heard(ear: socket.socket) -> int:
    words = 0
    while True:
        try:
            assert ear.recv(100) == b"WATCHDOG=1"
        except BlockingIOError:
            return words
        words += 1


def test_the_watchdog_is_fed_four_times_an_interval_while_nothing_hangs(ear: socket.socket) -> None:
    recorder = KeptRecords()
    care = Care(SystemClock(), recorder, Notifier(ear.getsockname(), watchdog_s=8), limit_s=30)
    for tick in range(100):
        care.feed_watchdog({"a": tick}, 1000 + tick / 10)
    assert _heard(ear) == 5
    for tick in range(100):
        care.feed_watchdog({"a": 99}, 1010 + tick)
    told = _heard(ear)
    assert told <= 31 / 2 + 1
    for tick in range(100):
        care.feed_watchdog({"a": 99}, 1110 + tick)
    assert _heard(ear) == 0
    assert [(code, detail) for code, detail, _ in recorder.events if code == "thread-hangs"] == [
        ("thread-hangs", {"threads": ["a"]})
    ]
    care.feed_watchdog({"a": 100}, 1300.0)
    assert _heard(ear) == 1


def test_a_disk_that_fails_is_told_once_and_again_after_it_worked() -> None:
    recorder = KeptRecords()
    care = Care(SystemClock(), recorder, Notifier(), limit_s=30)

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for act in (full, full, full, lambda: None, full):
        care.attempt("install", act)
    assert [code for code, _, _ in recorder.events] == ["disk-failed", "disk-failed"]
    with pytest.raises(ValueError, match="a defect"):
        care.attempt("install", _defect)


def _defect() -> None:
    raise ValueError("a defect")

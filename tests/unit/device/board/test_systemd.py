"""The unit: what systemd itself says of it, and what must never be lost from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sprat_device.board.systemd import UNIT_NAME, unit
from sprat_device.contract.errors import WrongUse

_TOO_NEW = re.compile(r"Unknown key '(RestartSteps|RestartMaxDelaySec)'")
"""Systemd before version 254 says so and goes on."""


def _unit(**more: Any) -> str:
    return unit(**{"python": Path(sys.executable), "state": Path("/var/lib/sprat"), "user": "daemon", **more})


def _lines(**more: Any) -> set[str]:
    return set(_unit(**more).splitlines())


def _analyze(folder: Path, verb: list[str], text: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing; install the package systemd")
        pytest.skip("no systemd-analyze")
    path = folder / UNIT_NAME
    path.write_text(text)
    return subprocess.run(
        ["systemd-analyze", *verb, str(path)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    "more",
    [{}, {"memory_max_mib": 96, "devices": ("/dev/ttyUSB0", "char-video4linux"), "groups": ("dialout", "video")}],
)
def test_systemd_understands_every_line(tmp_path: Path, more: dict[str, Any]) -> None:
    done = _analyze(tmp_path, ["verify"], _unit(**more))
    ours = [line for line in done.stderr.splitlines() if UNIT_NAME in line and not _TOO_NEW.search(line)]
    assert (done.returncode, ours) == (0, [])


def test_systemd_finds_little_exposed(tmp_path: Path) -> None:
    done = _analyze(tmp_path, ["security", "--offline=true", "--threshold=20"], _unit())
    assert done.returncode == 0, done.stdout


def test_it_is_watched_and_never_given_up() -> None:
    assert {"Type=notify", "WatchdogSec=60", "Restart=always", "StartLimitIntervalSec=0"} <= _lines()
    assert "WatchdogSec=60" not in _lines(watchdog_s=0)


def test_a_child_that_takes_too_much_or_lingers_costs_the_agent_nothing() -> None:
    assert {"OOMPolicy=continue", "KillMode=mixed", "TimeoutStopSec=15"} <= _lines()


def test_the_journal_is_not_flooded() -> None:
    assert {"LogRateLimitIntervalSec=30", "LogRateLimitBurst=300"} <= _lines()


def test_a_process_may_give_way_and_ask_for_the_time_and_is_never_killed_for_more() -> None:
    lines = _unit().splitlines()
    taken = lines.index("SystemCallFilter=~@privileged @resources")
    # What is given back must come after what is taken: systemd goes by the order.
    for given in ("nice setpriority sched_setscheduler", "adjtimex clock_adjtime"):
        assert lines.index(f"SystemCallFilter={given}") > taken
    assert "SystemCallErrorNumber=EPERM" in lines


def test_nothing_but_the_state_folder_can_be_written() -> None:
    assert {
        "ProtectSystem=strict",
        "ReadWritePaths=/var/lib/sprat",
        "PrivateTmp=yes",
        "NoNewPrivileges=yes",
    } <= _lines()
    assert [line for line in _lines() if line.startswith("ReadWritePaths=")] == ["ReadWritePaths=/var/lib/sprat"]


def test_memory_is_limited_on_request_alone() -> None:
    assert {"MemoryHigh=86M", "MemoryMax=96M"} <= _lines(memory_max_mib=96)
    assert not [line for line in _lines() if line.startswith("MemoryM")]


def test_devices_are_closed_unless_named() -> None:
    assert {"PrivateDevices=yes", "DevicePolicy=closed"} <= _lines()
    opened = _lines(devices=("/dev/ttyUSB0",), groups=("dialout",))
    assert {"DevicePolicy=closed", "DeviceAllow=/dev/ttyUSB0 rw", "SupplementaryGroups=dialout"} <= opened
    assert "RestrictAddressFamilies=AF_NETLINK" in opened - _lines()
    assert "PrivateDevices=yes" not in opened


def test_a_state_folder_at_home_can_be_seen() -> None:
    at_home = unit(python=Path("/usr/bin/python3"), state=Path("/home/pi/sprat"), user="pi").splitlines()
    assert "ProtectHome=read-only" in at_home
    assert "ProtectHome=yes" in _lines()


def test_code_made_at_run_time_is_refused_unless_asked_for() -> None:
    assert "MemoryDenyWriteExecute=yes" in _lines()
    assert "MemoryDenyWriteExecute=yes" not in _lines(writable_code="allow")


@pytest.mark.parametrize(
    "wrong",
    [
        {"devices": ("/dev/x rw\nUser=root",)},
        {"groups": ("a b",)},
        {"devices": ("",)},
        {"devices": ("ttyUSB0",)},
        {"writable_code": "x"},
        {"state": Path("relative")},
        {"python": Path()},
    ],
)
def test_what_cannot_stand_in_a_unit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(WrongUse):
        _unit(**wrong)

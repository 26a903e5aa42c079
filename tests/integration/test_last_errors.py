"""A real agent's last errors and refusals: in `sprat-device status` while it runs and after it, in the twin, in the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.brokers import Mosquitto, TestAuthority
from tests.daemons import Asker, Start, make_state, settings, wait_for

from sprat_device.contract.last_errors import REMEDIES
from sprat_device.contract.twin import InputMode

pytestmark = pytest.mark.integration
GATE = '[[outputs]]\nkind = "file"\nname = "gate"\npath = "/nowhere/at/all"\n'
BREAKS = """
import sys
from sprat_device.agent import Agent
from sprat_device.__main__ import main

def broken(self, stopped):
    raise KeyError("a slot that is not there")

Agent.run = broken
sys.exit(main(["run", "--state", sys.argv[1]]))
"""


@pytest.fixture
def state(tmp_path: Path, authority: TestAuthority, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the state of a device whose broker runs; its processes have a runtime folder in memory."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return make_state(tmp_path / "state", authority, broker.port)


def status(state: Path) -> dict[str, Any]:
    """Return what the command says, as a program gets it."""
    line = [sys.executable, "-m", "sprat_device", "status", "--state", str(state), "--json"]
    done = subprocess.run(line, capture_output=True, check=True, timeout=60, env=dict(os.environ))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def kinds(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(error["code"], error["at"]) for error in found["errors"]}


def test_errors_of_a_running_agent_are_told_at_once_and_outlive_it(state: Path, start: Start) -> None:
    settings(state, more=GATE)
    agent = start(state)
    agent.says("sink: output gate: /nowhere/at")
    wait_for((state / "status.json").exists, "a first report")
    found = wait_for(lambda: (told := status(state)) and kinds(told) and told, "an error in the status")
    assert kinds(found) == {("sink-failed", "output gate")}
    (error,) = found["errors"]
    assert error["remedy"] == REMEDIES["sink-failed"]
    assert error["detail"].startswith("/nowhere/at")
    assert agent.end() == 0
    assert list((state.parent / "runtime").iterdir()) == []
    assert kinds(status(state)) == {("sink-failed", "output gate")}
    again = start(state)
    again.says("sink: output gate: /nowhere/at")
    wait_for(lambda: status(state)["errors"][0]["count"] == 2, "the count goes on")


def test_a_wish_that_is_refused_is_in_the_twin_until_it_is_followed(
    state: Path, start: Start, broker: Mosquitto, authority: TestAuthority
) -> None:
    hub = Asker(broker, authority)
    try:
        agent = start(state)
        agent.says("uplink: connected")
        hub.desire(inputs={"tiny": InputMode.OFF})
        wait_for(lambda: hub.ask("status")["result"]["report"]["refused"], "the refusal is told")
        report = hub.ask("status")["result"]["report"]
        assert list(report["refused"]) == ["inputs"]
        assert report["refused"]["inputs"].startswith("remote.inputs is off on this device; its owner allows it by")
        settings(state, more="[remote]\ninputs = true")
        assert hub.ask("reload")["ok"]
        wait_for(lambda: not hub.ask("status")["result"]["report"]["refused"], "it is followed")
    finally:
        hub.close()


def test_an_agent_that_ends_by_a_defect_says_70_and_where_in_its_log(state: Path, start: Start) -> None:
    agent = start(state, script=BREAKS)
    assert agent.process.wait(60) == 70
    log = agent.log
    assert "CRITICAL sprat.agent: the agent ends by a defect\nTraceback" in log
    assert log.endswith("sprat-device: a fault of Sprat (KeyError: 'a slot that is not there'); --debug shows where\n")
    (state / "status.json").write_text('{"schema": "sprat.reported/1", "version": 1}')
    assert status(state)["runs"]["end"] == "crash"

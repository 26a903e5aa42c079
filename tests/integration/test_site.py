"""The agent's process on a site without a hub: readings from a program and a folder, predictions that act there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP

import numpy as np
import pytest
from tests.brokers import TestAuthority
from tests.daemons import MODEL, Agent, make_state, wait_for

pytestmark = pytest.mark.integration
Start = Callable[[Path], Agent]
SENSOR = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
for n in range(10**9):
    print([5, 1, 1] if n // 20 % 2 else [1, 1, 5], flush=True)
    time.sleep(0.005)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return make_state(tmp_path / "state", TestAuthority(tmp_path), 1)  # a port at which nobody answers


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[Agent] = []

    def start_(state: Path) -> Agent:
        folder = tmp_path / f"run{len(begun)}"
        folder.mkdir()
        begun.append(Agent(state, folder))
        return begun[-1]

    yield start_
    for agent in begun:
        agent.close()


def write(state: Path, tables: str) -> None:
    (state / "sprat.toml").write_text(tables, encoding="utf-8")


def sensor(state: Path, pid: Path) -> str:
    program = state / "sensor.py"
    program.write_text(SENSOR)
    command = json.dumps([sys.executable, str(program), str(pid)])
    return f'[[inputs]]\nmodel = "{MODEL}"\nkind = "command"\ncommand = {command}\n'


def labels(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [json.loads(line)["label"] for line in path.read_text().splitlines() if line.endswith("}")]


def test_predictions_act_without_a_hub_follow_the_settings_and_end_with_the_agent(
    tmp_path: Path, state: Path, start: Start
) -> None:
    every, changes, later, pid = (tmp_path / name for name in ("every", "changes", "later", "pid"))
    inputs = sensor(state, pid)
    outputs = (
        f'[[outputs]]\nkind = "file"\npath = "{every}"\nscores = false\n'
        f'[[outputs]]\nname = "change"\nkind = "file"\npath = "{changes}"\non = "change"\n'
    )
    write(state, inputs + outputs)
    agent = start(state)
    agent.ready()
    wait_for(lambda: len(labels(changes)) >= 4, "four changes of the label")
    assert set(labels(changes)) == {"low", "high"}
    assert all(a != b for a, b in zip(labels(changes), labels(changes)[1:], strict=False))
    assert len(labels(every)) > 3 * len(labels(changes))
    first = pid.read_text()
    # The outputs follow the settings while the input goes on.
    write(state, inputs + f'[[outputs]]\nkind = "file"\npath = "{later}"\nlabels = ["high"]\n')
    agent.signal(SIGHUP)
    wait_for(lambda: len(labels(later)) >= 3, "predictions at the new output")
    assert set(labels(later)) == {"high"}
    wait_for(lambda: len(labels(later)) >= 30, "more predictions, while the old output ends")
    before = len(labels(every))
    wait_for(lambda: len(labels(later)) >= 60, "still more of them")
    assert len(labels(every)) == before
    assert pid.read_text() == first
    assert agent.end() == 0
    wait_for(lambda: not Path(f"/proc/{first}").exists(), "the end of its program")
    assert "settings changed" in agent.log


def put(folder: Path, value: int) -> None:
    """Put a reading into a watched folder, whole at once."""
    np.save(folder / ".coming.npy", np.array([value, 2, 1], np.float32))
    (folder / ".coming.npy").rename(folder / f"{value}.npy")


def test_a_folder_is_not_read_twice_over_a_restart_of_the_agent(tmp_path: Path, state: Path, start: Start) -> None:
    folder, told = tmp_path / "in", tmp_path / "told"
    write(
        state,
        f'[[inputs]]\nmodel = "{MODEL}"\nkind = "folder"\npath = "{folder}"\n'
        f'[[outputs]]\nkind = "file"\npath = "{told}"\n',
    )
    agent = start(state)
    agent.says("source-failed")  # the folder is not there yet, and the agent runs on
    folder.mkdir()
    for n in range(3):
        put(folder, n)
    wait_for(lambda: len(labels(told)) == 3, "three predictions")
    assert agent.end() == 0
    put(folder, 9)
    again = start(state)
    wait_for(lambda: len(labels(told)) == 4, "the new one's prediction")
    assert again.end() == 0
    assert labels(told) == ["middle", "middle", "low", "low"]

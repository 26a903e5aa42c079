"""Root writes into the agent's folder as the agent's user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sprat_device.board import owner
from sprat_device.contract.twin import Reported

NOBODY = 65534
# All is loaded first: this Python may stand in a home that nobody else may look into.
PROGRAM = """
import encodings.ascii, sys
import sprat_device.board.clock, sprat_device.board.files, sprat_device.board.owner, sprat_device.install.hours
import sprat_device.daemon, sprat_device.status
from sprat_device.__main__ import main
sys.exit(main([*sys.argv[2:], "--state", sys.argv[1]]))
"""
IDENTITY = {
    "schema": "sprat.identity/1", "device": "d1", "hub_url": "https://127.0.0.1:1", "mqtt_host": "127.0.0.1",
    "mqtt_port": 1, "channel": "canary", "models": [],
}  # fmt: skip


@pytest.fixture
def state() -> Iterator[Path]:
    # Not tmp_path, whose parents let nobody else in.
    with TemporaryDirectory(prefix="sprat-owner-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "state"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
@pytest.mark.parametrize(
    ("command", "leaves"),
    [
        (["defer", "8"], "defer.json"),
        (["status"], "lock"),  # to look whether an agent runs; nobody may not start the Python of every test machine
        (["run"], "lock"),  # it ends at a layout that is too new, after it has locked the folder
    ],
)
def test_what_root_does_there_leaves_what_the_agent_can_use(state: Path, command: list[str], leaves: str) -> None:
    (state / "identity").mkdir(parents=True)
    (state / "identity/identity.json").write_text(json.dumps(IDENTITY))
    (state / "status.json").write_bytes(Reported(version=1).dump())
    (state / "state.json").write_text(json.dumps({"schema": "sprat.state/1", "layout": 99, "oldest": 99}))
    for path in (state, *state.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(state), *command], capture_output=True, check=False)
    made = {path.name: path.stat() for path in state.iterdir()}
    assert leaves in made, done.stderr
    assert {(facts.st_uid, facts.st_gid) for facts in made.values()} == {(NOBODY, NOBODY)}


def test_who_owns_it_or_finds_none_stays_who_he_is(tmp_path: Path) -> None:
    before = os.geteuid()
    owner.become(tmp_path)
    owner.become(tmp_path / "missing")
    assert os.geteuid() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
@pytest.mark.parametrize("inside", ["", "deeper"])
def test_who_may_not_look_into_the_folder_is_told_so_and_not_that_it_is_damaged(state: Path, inside: str) -> None:
    (state / inside).mkdir(parents=True, mode=0o700)
    state.chmod(0o700)
    program = PROGRAM.replace("sys.exit", f"import os; os.setuid({NOBODY}); sys.exit")
    done = subprocess.run(
        [sys.executable, "-c", program, str(state / inside), "status"], capture_output=True, text=True, check=False
    )
    said = f"sprat-device: {state / inside}: this user may not look into it; put sudo before the command\n"
    assert (done.returncode, done.stderr) == (4, said)

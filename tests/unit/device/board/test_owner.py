"""Root writes into the agent's folder as the agent's user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sprat_device.board import owner

NOBODY = 65534
# All is loaded first: this Python may stand in a home that nobody else may look into.
PROGRAM = """
import encodings.ascii, sys
import sprat_device.board.clock, sprat_device.board.files, sprat_device.board.owner, sprat_device.install.hours
from sprat_device.__main__ import main
sys.exit(main(["defer", "8", "--state", sys.argv[1]]))
"""


@pytest.fixture
def state() -> Iterator[Path]:
    # Not tmp_path, whose parents let nobody else in.
    with TemporaryDirectory(prefix="sprat-owner-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "state"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_what_root_puts_off_the_agent_can_read(state: Path) -> None:
    state.mkdir(mode=0o700)
    os.chown(state, NOBODY, NOBODY)
    subprocess.run([sys.executable, "-c", PROGRAM, str(state)], check=True, stdout=subprocess.DEVNULL)
    made = {path.name: path.stat() for path in state.iterdir()}
    assert made
    assert {(facts.st_uid, facts.st_gid) for facts in made.values()} == {(NOBODY, NOBODY)}


def test_who_owns_it_or_finds_none_stays_who_he_is(tmp_path: Path) -> None:
    before = os.geteuid()
    owner.become(tmp_path)
    owner.become(tmp_path / "missing")
    assert os.geteuid() == before

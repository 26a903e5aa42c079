"""The runner `ssh:HOST` against a fake `ssh` program: it drops the host and runs the command in a shell of this machine.

So the words, the quoting and the files are the real ones; test_ssh_server.py has a real ssh and a real sshd.
"""

import json
import os
import re
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from sprat import cli, settings
from sprat.compiler.build import build
from sprat.compiler.runners import measure
from sprat.compiler.runners.remote import SshRunner
from sprat.compiler.runners.running import RunnerFailed
from sprat.errors import MachineLacks, WrongUse

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
FAKE = """#!/bin/sh
printf '%s\\n' "$*" >> "$FAKE_SSH_LOG"
test "$1 $2 $3" = "-o BatchMode=yes -o" || exit 254
test "$5 $6" = "-- board" || { echo "ssh: Could not resolve hostname $6" >&2; exit 255; }
shift 6
exec sh -c "$1"
"""


@pytest.fixture
def board(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "ssh"
    fake.write_text(FAKE)
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    log = tmp_path / "log"
    monkeypatch.setenv("FAKE_SSH_LOG", str(log))
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    return log


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    names = {f"SPRAT_{name}_DIR": str(folder / name) for name in ("RUNS", "DATA", "CACHE", "RUNTIMES")}
    own = settings.read({}, names)
    overrides = ("train.trees=5",)
    return build(ROOT / "models" / "occupancy", out=folder / "a b'c", settings=own, overrides=overrides).bundles[0]


def test_a_check_over_ssh_says_where_it_was_taken(board, made, capsys):
    assert cli.main(["check", str(made.path), "--runner", "ssh:board", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"]
    assert document["where"].startswith("device (ssh:board, ")
    assert document["bundle"] == str(made.path)
    assert cli.main(["check", str(made.path), "--runner", "ssh:board"]) == 0
    assert "device (ssh:board" in capsys.readouterr().out
    assert "-o BatchMode=yes" in board.read_text()


def test_answers_over_ssh_are_those_of_this_machine_and_nothing_is_left_there(board, made):
    rows = {"reading": np.array([[20.5, 27.0, 1200.0, 15.0], [19.5, 27.0, 440.0, 3.0]])}
    there = SshRunner.named("board").infer(made.path, rows, runtime="onnx")
    here = measure.local().infer(made.path, rows, runtime="onnx")
    assert {name: array.tolist() for name, array in there.items()} == {k: v.tolist() for k, v in here.items()}
    used = set(re.findall(r"/[^\s'/]+/sprat-\w{8}", board.read_text()))
    used = {name for name in used if not name.endswith("XXXXXXXX")}  # the pattern that mktemp is given
    assert used
    assert not any(Path(name).exists() for name in used)


def test_a_build_may_be_measured_on_the_device(board, tmp_path, monkeypatch):
    for name in ("RUNS", "DATA", "CACHE", "RUNTIMES"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name))
    result = build(
        ROOT / "models" / "occupancy", out=tmp_path / "out", runner="ssh:board", overrides=("train.trees=5",)
    )
    figures = result.bundles[0].measured["runtimes"]["onnx"]
    assert figures["where"].startswith("device (ssh:board, ")


def test_the_devices_runtimes_are_listed(board, capsys):
    assert cli.main(["runtimes", "list", "--runner", "ssh:board", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runners"]["ssh:board"]["onnx"]


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "a;b", "$(x)", "a@b@c", "a'b", ""])
def test_what_is_no_host_is_never_given_to_ssh(board, host):
    with pytest.raises(WrongUse, match="--runner"):
        measure.runners(Path("none"), f"ssh:{host}")
    assert not board.exists()


def test_a_host_that_ssh_does_not_reach_is_the_machines_lack(board, made, capsys):
    assert cli.main(["check", str(made.path), "--runner", "ssh:elsewhere"]) == 4
    assert "Could not resolve hostname elsewhere; `ssh elsewhere true` has to work" in capsys.readouterr().err


def test_a_device_without_the_program_or_with_a_broken_one_is_said(board, tmp_path, made, monkeypatch):
    broken = tmp_path / "bin" / "sprat-device"
    broken.write_text("#!/bin/sh\necho 'Illegal instruction' >&2\nexit 132\n")
    broken.chmod(0o755)
    with pytest.raises(RunnerFailed, match="runner ssh:board: Illegal instruction"):
        SshRunner.named("board").check(made.path, runtime=None)
    with pytest.raises(MachineLacks, match="Illegal instruction; bring the device's sprat-device"):
        SshRunner.named("board").runtimes()
    broken.unlink()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(MachineLacks, match="sprat-device is not on the PATH there"):
        SshRunner.named("board").runtimes()


def test_a_machine_without_ssh_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineLacks, match="ssh cannot be run here"):
        SshRunner.named("board").runtimes()

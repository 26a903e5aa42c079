"""The runner `ssh:HOST` over a real ssh and a real sshd: keys, the login's shell, files through stdin and stdout."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests import ssh_server

from sprat import cli
from sprat.compiler.build import build
from sprat.compiler.runners import measure
from sprat.compiler.runners.remote import SshRunner
from sprat.compiler.runners.running import RunnerFailed

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if (not ssh_server.SSHD or not ssh_server.SSH) and not os.environ.get("CI"):
        pytest.skip("openssh-server is not installed")
    with ssh_server.running(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture(autouse=True)
def board(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{server.programs}:{os.environ['PATH']}")
    for name in ("RUNS", "DATA", "CACHE", "RUNTIMES"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name))
    return SshRunner.named("board")


@pytest.fixture(scope="module")
def made(server, tmp_path_factory):
    """Build with every candidate tried and measured on the board."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{server.programs}:{os.environ['PATH']}")
        for name in ("RUNS", "DATA", "CACHE", "RUNTIMES"):
            patch.setenv(f"SPRAT_{name}_DIR", str(folder / name))
        return build(
            ROOT / "models" / "occupancy", out=folder / "out", runner="ssh:board",
            overrides=("train.trees=5", 'schemes=["float64-onnx"]'),
        ).bundles[0]  # fmt: skip


def test_a_build_is_judged_and_measured_on_the_board(made, server):
    figures = made.measured["runtimes"]["onnx"]
    assert figures["where"].startswith("device (ssh:board, ")
    assert figures["latency_us"]["p50"] > 0
    assert "Accepted publickey" in server.log.read_text()


def test_a_check_reproduces_the_golden_set_there(made, capsys):
    assert cli.main(["check", str(made.path), "--runner", "ssh:board", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"]
    assert document["where"].startswith("device (ssh:board, ")


def test_many_rows_come_back_as_this_machine_answers_them(board, made):
    rng = np.random.default_rng(0)
    rows = {"reading": rng.uniform([19, 16, 0, 0], [24, 40, 1500, 2000], (30_000, 4))}
    there = board.infer(made.path, rows, runtime="onnx")
    here = measure.local().infer(made.path, rows, runtime="onnx")
    assert there.keys() == here.keys()
    assert all(np.array_equal(there[name], here[name]) for name in here)


def test_a_host_key_that_is_not_the_known_one_ends_it(made, server, capsys):
    kept = server.known_hosts.read_text()
    other = server.known_hosts.with_name("other")
    if not other.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other.with_suffix('.pub').read_text()}")
    try:
        assert cli.main(["check", str(made.path), "--runner", "ssh:board"]) == 4
    finally:
        server.known_hosts.write_text(kept)
    (line,) = capsys.readouterr().err.splitlines()
    assert "Host key verification failed" in line
    assert "`ssh board true` has to work without a password" in line


def test_a_bundle_that_the_board_refuses_is_said_with_its_words(board, tmp_path):
    broken = tmp_path / "broken.sprat"
    broken.write_bytes(b"PK\3\4 no bundle")
    with pytest.raises(RunnerFailed, match="runner ssh:board: "):
        board.infer(broken, {"reading": np.zeros((1, 4))}, runtime="onnx")

"""A build that is cancelled or killed: nothing half-made stays behind, and no worker goes on without it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

MODELS = Path(__file__).parents[2] / "models"
HANG = """

def model(train, validation, *, seed, trees=1, depth=1):
    import os, pathlib, time
    pathlib.Path(__file__).with_name("worker").write_text(str(os.getpid()))
    time.sleep(300)
"""


@pytest.fixture
def training(tmp_path):
    """Start a build whose training never ends; yields it with its worker's id."""
    project = tmp_path / "p"
    project.mkdir()
    (project / "recipe.toml").write_text((MODELS / "occupancy" / "recipe.toml").read_text())
    (project / "factory.py").write_text((MODELS / "occupancy" / "factory.py").read_text() + HANG)
    folders = {f"SPRAT_{name}_DIR": str(tmp_path / name) for name in ("RUNS", "DATA", "CACHE", "RUNTIMES")}
    line = [
        sys.executable,
        "-m",
        "sprat.cli",
        "build",
        str(project),
        "--out",
        str(tmp_path / "out"),
        "--runner",
        "local",
    ]
    process = subprocess.Popen(line, env={**os.environ, **folders}, stdout=subprocess.DEVNULL)
    place = project / "worker"
    for _ in range(1200):
        if (place.exists() and place.read_text()) or process.poll() is not None:
            break
        time.sleep(0.1)
    yield process, int(place.read_text())
    process.kill()
    process.wait()


def _gone(pid):
    """Wait for a process that is no child of ours to end."""
    for _ in range(300):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_sigterm_ends_it_as_ctrl_c_does(training, tmp_path):
    process, worker = training
    assert list((tmp_path / "out").glob(".sprat-build-*"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert not (tmp_path / "out").exists()
    assert _gone(worker)


def test_a_worker_ends_with_the_build_that_was_killed(training):
    process, worker = training
    process.kill()
    process.wait()
    assert _gone(worker)

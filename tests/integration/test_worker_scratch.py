"""What a worker keeps in its folder for temporary files goes with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from tests.daemons import wait_for

from sprat.compiler.workers.processes import JobFailed, Limits, WorkerProcess
from sprat.compiler.workers.scratch import Scratch

pytestmark = pytest.mark.integration
FACTORY = """
import os, pathlib, tempfile, time

def data():
    with tempfile.NamedTemporaryFile("w", prefix="__autograph_generated_file", delete=False) as file:
        file.write("generated")
    pathlib.Path(__file__).with_name("left").write_text(file.name)
    time.sleep(300)
"""
PARENT = """
import sys
from pathlib import Path
from sprat.compiler.workers.processes import Limits, WorkerProcess

folder = Path(sys.argv[1])
job = {"job": "data", "path": str(folder / "factory.py"), "out": str(folder / "out")}
WorkerProcess(log=folder / "log", limits=Limits(300)).run(job)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a factory that leaves a file behind and never comes back."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "factory.py").write_text(FACTORY)
    return tmp_path


def test_a_worker_that_is_killed_leaves_nothing(folder: Path) -> None:
    worker = WorkerProcess(log=folder / "log", limits=Limits(timeout_s=300))

    def kill() -> None:
        wait_for(lambda: (folder / "left").exists() and (folder / "left").read_text(), "the factory runs")
        worker.kill()

    killing = threading.Thread(target=kill)
    killing.start()
    with pytest.raises(JobFailed, match="SIGKILL"):
        worker.run({"job": "data", "path": str(folder / "factory.py"), "out": str(folder / "out")})
    killing.join()
    assert (folder / "tmp") in Path((folder / "left").read_text()).parents
    assert list((folder / "tmp").iterdir()) == []


def test_what_a_build_that_was_killed_has_left_goes_with_the_next_one(folder: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)])
    try:
        wait_for(lambda: (folder / "left").exists() and (folder / "left").read_text(), "the factory runs")
        left = Path((folder / "left").read_text())
        with Scratch() as beside:  # a build beside it takes nothing away that is in use
            assert left.exists()
            assert len(list((folder / "tmp").iterdir())) == 2
        assert not beside.path.exists()
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    with Scratch() as mine:
        assert list((folder / "tmp").iterdir()) == [mine.path]


def test_a_folder_of_that_name_that_is_none_is_left_alone(folder: Path) -> None:
    kept = folder / "kept"
    kept.mkdir()
    (kept / "file").write_text("mine")
    (folder / "tmp" / "sprat-worker-link").symlink_to(kept)
    (folder / "tmp" / "sprat-worker-file").write_text("a file")
    with Scratch():
        pass
    assert (kept / "file").read_text() == "mine"
    assert sorted(path.name for path in (folder / "tmp").iterdir()) == ["sprat-worker-file", "sprat-worker-link"]

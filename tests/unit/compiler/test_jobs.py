import pickle
import time
from pathlib import Path

import pytest

from sprat.compiler.spec import factory
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.executors import Place
from sprat.compiler.workers.jobs import JobFailed, Jobs
from sprat.compiler.workers.processes import tree_resident_bytes
from sprat.data.table import read_table
from sprat.errors import RecipeError, WrongUse


@pytest.fixture
def jobs(tmp_path):
    with Jobs(log=tmp_path / "log", timeout_s=60) as jobs:
        yield jobs


def _factory(tmp_path, body, name="factory.py"):
    path = tmp_path / name
    path.write_text(f"def data():\n    {body}\n")
    return path


def test_a_crash_is_a_failed_job_and_the_next_one_runs(tmp_path, jobs):
    crashing = _factory(tmp_path, "import os; print('about to go'); os.abort()")
    with pytest.raises(JobFailed, match="signal 6") as caught:
        jobs.columns(crashing, tmp_path / "out.npz")
    assert caught.value.code is GateCode.CONVERSION_FAILED
    assert not (tmp_path / "out.npz").exists()
    jobs.columns(_factory(tmp_path, "return {'a': [1.0, 2.0]}", "good.py"), tmp_path / "out.npz")
    assert read_table(tmp_path / "out.npz")["a"].tolist() == [1.0, 2.0]
    assert not list(tmp_path.rglob("__pycache__"))


def test_what_a_factory_raises_or_returns_wrongly_is_said(tmp_path, jobs):
    with pytest.raises(JobFailed, match="KeyError: 'colour'"):
        jobs.columns(_factory(tmp_path, "raise KeyError('colour')"), tmp_path / "out.npz")
    with pytest.raises(RecipeError, match="one length above zero"):
        jobs.columns(_factory(tmp_path, "return {'a': [1], 'b': [1, 2]}"), tmp_path / "out.npz")


def test_a_job_over_its_time_is_stopped(tmp_path):
    with Jobs(log=tmp_path / "log", timeout_s=0.05) as jobs:
        with pytest.raises(JobFailed, match="conversion_timeout_s") as caught:
            jobs.columns(_factory(tmp_path, "import threading; threading.Event().wait()"), tmp_path / "out.npz")
        assert caught.value.code is GateCode.CONVERSION_TIMEOUT


def test_parameters_are_read_without_running_the_file(tmp_path):
    path = tmp_path / "f.py"
    path.write_text("raise SystemExit\ndef model(train, validation, *, seed, epochs=3, width=2): ...\n")
    assert factory.parameters(path) == ("epochs", "width")
    path.write_text("def modle(): ...\n")
    with pytest.raises(RecipeError, match="has no function 'model"):
        factory.parameters(path)
    path.write_text("def model(:\n")
    with pytest.raises(RecipeError, match="cannot be read"):
        factory.parameters(path)


def test_a_job_over_its_memory_is_stopped_and_the_next_one_runs(tmp_path):
    hungry = _factory(tmp_path, "import time; held = bytearray(400_000_000); time.sleep(30)")
    with Jobs(log=tmp_path / "log", timeout_s=25, memory_mb=200) as jobs:
        with pytest.raises(JobFailed, match=r"stopped at \d+ MB of memory, allowed 200 MB \(setting conv") as caught:
            jobs.columns(hungry, tmp_path / "out.npz")
        assert caught.value.code is GateCode.CONVERSION_MEMORY
        jobs.columns(_factory(tmp_path, "return {'a': [1.0, 2.0]}", "good.py"), tmp_path / "out.npz")


def test_the_memory_of_what_a_worker_starts_counts_too(tmp_path):
    script = "held = bytearray(400_000_000); import time; time.sleep(30)"
    started = _factory(tmp_path, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}])")
    with (
        Jobs(log=tmp_path / "log", timeout_s=25, memory_mb=200) as jobs,
        pytest.raises(JobFailed, match="of memory, allowed 200 MB"),
    ):
        jobs.columns(started, tmp_path / "out.npz")


def test_a_kill_from_outside_says_what_it_most_often_means(tmp_path, jobs):
    killed = _factory(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(JobFailed, match="SIGKILL: the machine was probably out of memory"):
        jobs.columns(killed, tmp_path / "out.npz")
    crashing = _factory(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "segfault.py")
    with pytest.raises(JobFailed, match=r"signal 11 \(SIGSEGV\)"):
        jobs.columns(crashing, tmp_path / "out.npz")


def test_closing_ends_what_a_worker_started(tmp_path):
    pid_file = tmp_path / "pid"
    body = f"import subprocess, pathlib; p = subprocess.Popen(['sleep', '60']); pathlib.Path({str(pid_file)!r}).write_text(str(p.pid)); return {{'a': [1]}}"
    with Jobs(log=tmp_path / "log", timeout_s=25) as jobs:
        jobs.columns(_factory(tmp_path, body), tmp_path / "out.npz")
        assert tree_resident_bytes(int(pid_file.read_text())) > 0
    assert _ended(int(pid_file.read_text()))


def _ended(pid: int) -> bool:
    """Wait a little: a killed process is told of before the kernel has taken it down."""
    state = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        try:
            if state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_failed_job_crosses_process_borders_whole():
    again = pickle.loads(pickle.dumps(JobFailed(GateCode.CONVERSION_TIMEOUT, "stopped")))  # noqa: S301 - our own bytes
    assert (again.code, str(again)) == (GateCode.CONVERSION_TIMEOUT, "stopped")


@pytest.mark.parametrize(
    ("text", "place"),
    [("1", Place(1)), ("3", Place(3)), ("dask://box:8786", Place(cluster="tcp://box:8786"))],
)
def test_a_place_for_jobs(text, place):
    assert Place.parse(text) == place


@pytest.mark.parametrize(
    "text", ["0", "-1", "1.5", "257", "", "all", "dask://", "dask://box", "dask://:1", "dask://b:0"]
)
def test_what_is_no_place_for_jobs(text):
    with pytest.raises(WrongUse, match="expected 1 to 256, or dask://host:port"):
        Place.parse(text)

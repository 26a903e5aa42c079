import pytest

from sprat.compiler import factory
from sprat.compiler.gates import GateCode
from sprat.compiler.jobs import JobFailed, Jobs
from sprat.data.table import read_table
from sprat.errors import RecipeError


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

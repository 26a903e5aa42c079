"""Jobs with real processes: converters that kill themselves, parallel builds, a Dask cluster, the cache."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sprat import settings
from sprat.compiler.build import build
from sprat.compiler.workers import cluster as clusters
from sprat.errors import MachineLacks, RecipeError

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

KERAS_RECIPE = """
schema = "sprat.recipe/1"
model = "tiny"
task = "classification"
labels = ["low", "high"]
targets = ["generic-x86_64"]

[train]
framework = "keras"
factory = "factory.py"
seed = 3

[inputs.reading]
features = ["a", "b"]
"""
KERAS_FACTORY = """
def data():
    import numpy as np
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 600))
    return {"a": a, "b": b, "label": np.where(a + b > 0, "high", "low")}


def model(train, validation, *, seed, epochs=3):
    import keras
    import numpy as np
    net = keras.Sequential([
        keras.Input((2,), name="reading"), keras.layers.Dense(8, activation="relu"),
        keras.layers.Dense(2, activation="softmax"),
    ])
    net.compile("adam", "sparse_categorical_crossentropy")
    net.optimizer.learning_rate = 0.05
    net.fit(np.asarray(train.inputs["reading"], np.float32), train.labels, epochs=epochs, verbose=0)
    return net
"""
SKLEARN_RECIPE = KERAS_RECIPE.replace('"keras"', '"sklearn"')
SKLEARN_FACTORY = (
    KERAS_FACTORY.split("def model", maxsplit=1)[0]
    + """
def model(train, validation, *, seed, depth=3):
    from pathlib import Path
    from sklearn.ensemble import RandomForestClassifier
    return RandomForestClassifier(8, max_depth=depth, random_state=seed).fit(train.inputs["reading"], train.labels)
"""
)


def _project(folder, recipe, factory):
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(recipe)
    (folder / "factory.py").write_text(factory)
    return folder


@pytest.fixture
def own(tmp_path, monkeypatch):
    names = {f"SPRAT_{name}_DIR": str(tmp_path / name.lower()) for name in ("RUNS", "DATA", "CACHE")}
    names["SPRAT_RUNTIMES_DIR"] = str(tmp_path / "none")
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    return settings.read({}, names)


@pytest.fixture
def forest(tmp_path):
    return _project(tmp_path / "forest", SKLEARN_RECIPE, SKLEARN_FACTORY)


@pytest.fixture
def net(tmp_path):
    return _project(tmp_path / "net", KERAS_RECIPE, KERAS_FACTORY)


def _build(project, out, own, **more):
    steps = []
    result = build(project, out=out, settings=own, runner="local", say=steps.append, **more)
    return result, steps, [one.path.read_bytes() for one in result.bundles]


def test_the_same_forest_gives_the_same_bytes_twice_and_in_another_process(forest, tmp_path, own):
    _, _, first = _build(forest, tmp_path / "1", own, cache=False)
    _, _, second = _build(forest, tmp_path / "2", own, cache=False)
    other = tmp_path / "3"
    done = subprocess.run(
        [sys.executable, "-m", "sprat.cli", "build", str(forest), "--out", str(other), "--runner", "local", "--no-cache"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert first == second == [next(other.glob("*.sprat")).read_bytes()]
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_net_gives_the_same_bytes_whatever_the_jobs_and_the_cache(net, tmp_path, own):
    some = ('schemes=["float32", "float16", "int8", "int8-full", "float32-onnx"]',)
    one, _, first = _build(net, tmp_path / "1", own, cache=False, overrides=some)
    three, _, second = _build(net, tmp_path / "2", own, jobs=3, overrides=some)
    again, steps, third = _build(net, tmp_path / "3", own, overrides=some)
    assert len(one.candidates) == 5
    assert first == second == third
    assert not any(step.startswith("converting") for step in steps)
    plain = [[(row.scheme, row.size, row.metric, row.chosen) for row in r.candidates] for r in (one, three, again)]
    assert plain[0] == plain[1] == plain[2]


@pytest.mark.slow
def test_a_scheme_more_converts_only_that_one(net, tmp_path, own):
    def converted(schemes):
        _, steps, made = _build(net, tmp_path / "out", own, overrides=(f"schemes={json.dumps(schemes)}",))
        return [step.removeprefix("converting: ") for step in steps if step.startswith("converting")], made

    assert converted(["float32"])[0] == ["float32"]
    done, made = converted(["float32", "int8"])
    assert done == ["int8"]
    (fresh,) = _build(net, tmp_path / "fresh", own, overrides=('schemes=["float32", "int8"]',), cache=False)[2]
    assert made == [fresh]


def test_another_factory_or_seed_is_not_taken_from_the_cache(forest, tmp_path, own):
    _, _, (first,) = _build(forest, tmp_path / "1", own)
    _, steps, (second,) = _build(forest, tmp_path / "2", own, overrides=("train.seed=9",))
    assert "converting: float64-onnx" in steps
    assert first != second
    (forest / "factory.py").write_text(SKLEARN_FACTORY.replace("depth=3", "depth=4"))
    assert "converting: float64-onnx" in _build(forest, tmp_path / "3", own)[1]


def test_a_damaged_cache_entry_is_made_again_and_told(forest, tmp_path, own):
    _, _, first = _build(forest, tmp_path / "1", own)
    entries = list((tmp_path / "cache").glob("*.entry"))
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:-5])
    result, _, second = _build(forest, tmp_path / "2", own)
    assert first == second
    assert len(entries) >= 2
    assert sum("was damaged" in warning for warning in result.warnings) == len(entries)


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"signal 11 \(SIGSEGV\)"),
        (
            "held = bytearray(900_000_000); import time; time.sleep(600)",
            r"allowed 700 MB \(setting conversion_memory_mb",
        ),
        ("import time; time.sleep(600)", r"stopped after 8 s \(setting conversion_timeout_s"),
    ],
)
def test_a_training_that_dies_hangs_or_eats_all_memory_is_one_line(forest, tmp_path, own, deed, said):
    limit_s = "8" if "stopped" in said else "300"  # where it counts the worker's start and imports must not
    (forest / "factory.py").write_text(SKLEARN_FACTORY.replace("from pathlib import Path", deed))
    limits = {"SPRAT_CONVERSION_MEMORY_MB": "700", "SPRAT_CONVERSION_TIMEOUT_S": limit_s}
    with pytest.raises(RecipeError, match=f"training failed: .*{said}"):
        build(forest, out=tmp_path / "out", runner="local", settings=settings.read({}, {**_names(own), **limits}))
    assert not (tmp_path / "out").exists()


def _names(own):
    return {
        f"SPRAT_{name.upper()}_DIR": str(getattr(own, f"{name}_dir")) for name in ("runs", "data", "cache", "runtimes")
    }


@pytest.fixture
def broken_float16(tmp_path, monkeypatch):
    """Stands in for the converters that do so on some graphs: each worker imports it in place of the real scheme."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys, types\n"
        "broken = types.ModuleType('sprat.compiler.schemes.float16')\n"
        "def lower(work, parts):\n"
        "    import os, signal\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
        "broken.lower = lower\n"
        "sys.modules['sprat.compiler.schemes.float16'] = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))


def _is_one_failed_candidate(result):
    rows = {row.scheme: row for row in result.candidates}
    assert "conversion-failed: the process ended with signal 11 (SIGSEGV)" in rows["float16"].reason
    assert [row.scheme for row in result.candidates if row.chosen] == ["float32"]


FLOATS = ('schemes=["float32", "float16"]',)


@pytest.mark.slow
@pytest.mark.usefixtures("broken_float16")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_converter_that_kills_itself_is_one_failed_candidate(net, tmp_path, own, jobs):
    _is_one_failed_candidate(_build(net, tmp_path / "out", own, jobs=jobs, cache=False, overrides=FLOATS)[0])


@pytest.fixture
def cluster(tmp_path):
    """A real scheduler and a real worker, each a process of its own; yields their address for `--jobs`."""
    clusters.made_by.cache_clear()  # a source that was edited during a long run of tests is no other version
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", "--nthreads", "2",
              "--no-nanny", "--no-dashboard", "--memory-limit", "0"]  # fmt: skip
    with subprocess.Popen([*scheduler, "--no-dashboard"], **quiet) as one, subprocess.Popen(worker, **quiet) as two:
        try:
            _wait_for_workers(f"tcp://127.0.0.1:{port}", one, two)
            yield f"dask://127.0.0.1:{port}", two
        finally:
            two.kill()
            one.kill()


def _wait_for_workers(address, *processes):
    from distributed import Client

    until = time.monotonic() + 60
    while True:
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < until
        try:
            with Client(address, timeout=5, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=30)
                return
        except OSError:
            continue


def _wait_until_none_works(address):
    from distributed import Client

    with Client(address, timeout=60, set_as_default=False) as client:
        until = time.monotonic() + 60
        while client.sync(client.scheduler.identity)["workers"]:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.slow
def test_a_dask_cluster_converts_to_the_same_bytes(net, tmp_path, own, cluster):
    address, _ = cluster
    few = ('schemes=["float32", "int8", "dynamic"]',)
    _, steps, there = _build(net, tmp_path / "there", own, jobs=address, cache=False, overrides=few)
    _, _, here = _build(net, tmp_path / "here", own, cache=False, overrides=few)
    assert there == here
    assert "converting: int8" in steps


@pytest.mark.slow
@pytest.mark.usefixtures("broken_float16")
def test_a_converter_that_kills_itself_on_the_cluster_leaves_the_worker_alive(net, tmp_path, own, cluster):
    address, worker = cluster
    _is_one_failed_candidate(_build(net, tmp_path / "out", own, jobs=address, cache=False, overrides=FLOATS)[0])
    assert worker.poll() is None


def test_a_cluster_that_is_not_there_or_has_no_workers_is_one_line(forest, tmp_path, own, cluster, monkeypatch):
    address, worker = cluster
    with monkeypatch.context() as soon:
        soon.setattr(clusters, "_CONNECT_S", 2)
        with pytest.raises(MachineLacks, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1; start one"):
            _build(forest, tmp_path / "out", own, jobs="dask://127.0.0.1:1")
    worker.kill()
    worker.wait()
    _wait_until_none_works(address.replace("dask", "tcp"))
    with pytest.raises(MachineLacks, match="has no workers; start one with `dask worker"):
        _build(forest, tmp_path / "out", own, jobs=address)
    assert not (tmp_path / "out").exists()


def test_a_worker_with_other_versions_is_refused(monkeypatch):
    there = {**clusters.made_by(), "keras": "2.15.0"}
    with pytest.raises(MachineLacks, match=r"the Dask worker has keras 3[0-9.]*, this build 2.15.0; install the same"):
        clusters.convert(b"", None, "float32", None, there)

"""Whether a runtime works is found by running it, in a child: a wrong numpy, a crash and a missing library are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from tests.integration.test_runtimes import models, tflite_python
from tests.unit.device.inference import bundles

from sprat_device.board.settings import RuntimeSettings
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.errors import MachineLacks
from sprat_device.contract.manifest import TensorSpec, Tolerance
from sprat_device.inference import runtimes
from sprat_device.inference.runtimes import health
from sprat_device.inference.runtimes.onnx import library

pytestmark = pytest.mark.integration
__all__ = ["models", "tflite_python"]  # fixtures
SOURCE = str(Path(runtimes.__file__).parents[3])


def told(python: str, **environment: str) -> tuple[int, list[dict[str, object]]]:
    done = subprocess.run(
        [python, "-m", "sprat_device", "runtimes", "--json"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    found: list[dict[str, object]] = json.loads(done.stdout)["runtimes"]
    return done.returncode, found


def test_what_is_installed_works(tflite_python: str) -> None:
    code, found = told(sys.executable)
    assert code == 0
    assert {each["runtime"]: (each["ok"], each["detail"]) for each in found} == dict.fromkeys(
        runtimes.available(), (True, "")
    )
    code, found = told(tflite_python, PYTHONPATH=SOURCE)
    assert (code, [(each["runtime"], each["ok"]) for each in found]) == (0, [("tflite", True)])


def test_a_numpy_that_the_runtime_cannot_use_is_named(tflite_python: str, tmp_path: Path) -> None:
    # The numpy of this environment before that of the other one, as an upgrade by hand would leave it.
    own = distribution("numpy")
    for name in {str(file).split("/", 1)[0] for file in own.files or ()} - {".."}:
        (tmp_path / name).symlink_to(Path(str(own.locate_file(name))))
    code, (found,) = told(tflite_python, PYTHONPATH=os.pathsep.join([str(tmp_path), SOURCE]))
    assert (code, found["ok"]) == (4, False)
    assert f"needs numpy < 2, found numpy {own.version}; install sprat-device[tflite]" in str(found["detail"])


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("import os; os.abort()", "crashed with signal 6"),
        ("raise ImportError('libgomp.so.1: cannot open shared object file')", "cannot be imported (libgomp.so.1"),
        ("__version__ = '1'", "ModuleNotFoundError"),
    ],
)
def test_a_library_that_does_not_run_says_how(
    library: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text(library)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = health.examine("onnx", "1.31")
    assert not found.ok
    assert said in found.detail
    assert "\n" not in found.detail


def test_that_it_works_is_kept_until_a_version_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    bad = ["onnx"]

    def examine(runtime: str, version: str) -> health.Health:
        asked.append(runtime)
        return health.Health(runtime, version, ok=runtime not in bad, detail="no luck")

    monkeypatch.setattr(health, "examine", examine)
    monkeypatch.setattr(runtimes, "available", lambda: {"litert": "2.3", "onnx": "1.31"})
    assert health.usable(health.known(tmp_path)) == {"litert": "2.3"}
    bad.clear()
    assert health.usable(health.known(tmp_path)) == {
        "litert": "2.3",
        "onnx": "1.31",
    }  # a failure may have been the moment
    assert health.usable(health.known(tmp_path)) == {"litert": "2.3", "onnx": "1.31"}
    assert asked == ["litert", "onnx", "onnx"]
    monkeypatch.setattr(runtimes, "available", lambda: {"litert": "2.4", "onnx": "1.31"})
    assert len(health.known(tmp_path)) == 2
    assert asked == ["litert", "onnx", "onnx", "litert", "onnx"]
    (tmp_path / "runtimes.json").write_text('{"versions"')
    assert len(health.usable(health.known(tmp_path))) == 2


def test_xnnpack_is_chosen_by_a_setting_and_said_where_it_cannot_be(models: Path, tflite_python: str) -> None:
    litert = {
        xnnpack: runtimes.load("litert", models / "int8.tflite", settings=RuntimeSettings(xnnpack=xnnpack))
        for xnnpack in ("auto", "on", "off")
    }
    kernels = {
        name: [op["op_name"] for op in session._interpreter._get_ops_details()]  # type: ignore[attr-defined]
        for name, session in litert.items()
    }
    assert {name: "DELEGATE" in each for name, each in kernels.items()} == {"auto": True, "on": True, "off": False}
    # tflite-runtime 2.14 leaves int8 to its own kernels.
    code = (
        "import sys; from pathlib import Path; from sprat_device.inference import runtimes\n"
        "from sprat_device.board.settings import RuntimeSettings\n"
        "runtimes.load('tflite', Path(sys.argv[1]), settings=RuntimeSettings(xnnpack='on'))"
    )
    loads = {
        name: subprocess.run(
            [tflite_python, "-c", code, models / name],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONPATH": SOURCE},
        )
        for name in ("float.tflite", "int8.tflite")
    }
    assert loads["float.tflite"].returncode == 0
    assert "runtime.xnnpack: on, but tflite 2.14.0 gives none" in loads["int8.tflite"].stderr


def test_a_check_proves_a_bundle_as_it_will_be_run(tmp_path: Path, models: Path) -> None:
    graph = (models / "numbers.onnx").read_bytes()
    described = bundles.manifest(inputs=(TensorSpec("X", "float64", (-1, 4)),), outputs=(
        TensorSpec("label", "int64", (-1,), meaning="label"),
        TensorSpec("probabilities", "float32", (-1, 3), meaning="probabilities"),
    ))  # fmt: skip
    x = np.ones((1, 4))
    raw = runtimes.load("onnx", models / "numbers.onnx").run({"X": x})
    golden = GoldenSet({"X": x}, {"onnx": {**raw, "probabilities": raw["probabilities"] + np.float32(0.5)}})
    path = bundles.write(tmp_path / "b.sprat", described, graph, golden, tolerance=Tolerance("absolute", 1e-6))

    def checked(*words: str) -> subprocess.CompletedProcess[str]:
        given = [f"--set={word}" for word in words]
        command = [sys.executable, "-m", "sprat_device", "check", str(path), *given]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    done = checked("onnx_optimisation=off")
    assert done.returncode == 1
    assert "1.31.1, onnx_optimisation=off are off by up to 0.5" in done.stderr
    assert "did you mean 'xnnpack'" in checked("xnnpak=on").stderr


def test_onnx_runtime_follows_its_settings(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    onnxruntime = library()
    make = onnxruntime.InferenceSession

    def watched(path: str, *, sess_options: object, providers: list[str]) -> object:
        seen.append(sess_options)
        return make(path, sess_options=sess_options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    settings = RuntimeSettings(
        threads=2, onnx_inter_threads=2, onnx_optimisation="basic", onnx_arena=False, onnx_memory_pattern=False
    )
    runtimes.load("onnx", models / "numbers.onnx", settings=settings)
    (options,) = seen
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2)  # type: ignore[attr-defined]
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)  # type: ignore[attr-defined]
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # type: ignore[attr-defined]
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL  # type: ignore[attr-defined]


def test_a_machine_without_a_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MachineLacks, match=r"install sprat-device\[onnx\]"):
        health.run("onnx")

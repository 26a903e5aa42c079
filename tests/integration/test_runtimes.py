"""Real LiteRT, tflite-runtime and ONNX Runtime sessions: the device's own programs, run as the updater runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.opened import open_artifact
from tests.unit.device.inference import bundles

from sprat_device.contract.bundle import Baseline, GoldenSet
from sprat_device.contract.errors import BundleRefused, WrongUse
from sprat_device.contract.manifest import Format, Manifest, TensorSpec, Tolerance
from sprat_device.contract.phases import Reason
from sprat_device.inference import runtimes
from sprat_device.inference.runtimes.raw import RawSession, RawTensor, RunFailed
from sprat_device.inference.session import Session

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
BASELINE = Baseline({"f0": np.array([1.0, 2.0])}, {"f0": np.array([1, 2, 3])}, np.array([1, 1, 1]))
LABELS = ("low", "middle", "high")
FEATURES = ("f0", "f1", "f2", "f3")
ROWS = 12
CASES = [
    ("float.tflite", "litert"),
    ("int8.tflite", "litert"),
    ("float.tflite", "tflite"),
    ("int8.tflite", "tflite"),
    ("numbers.onnx", "onnx"),
    ("texts.onnx", "onnx"),
]
Write = Callable[..., Path]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    maker = Path(__file__).with_name("runtime_models.py")
    subprocess.run([sys.executable, maker, folder], check=True, capture_output=True, timeout=240)
    return folder


@pytest.fixture(scope="session")
def tflite_python() -> str:
    """Return the Python of an environment with tflite-runtime, which cannot share one with numpy 2."""
    candidates = [Path(os.environ.get("SPRAT_RUNTIMES_DIR", "absent")) / "tflite", ROOT / ".runtimes" / "tflite"]
    for folder in candidates:
        if (folder / "bin" / "python").exists():
            return str(folder / "bin" / "python")
    missing = "no environment with tflite-runtime; make one: sprat runtimes add tflite"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture
def python_of(request: pytest.FixtureRequest) -> Callable[[str], str]:
    def python(runtime: str) -> str:
        return str(request.getfixturevalue("tflite_python")) if runtime == "tflite" else sys.executable

    return python


def run(python: str, program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", f"sprat_device.inference.{program}", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )


def checked(python: str, *arguments: object, **environment: str) -> tuple[int, dict[str, Any]]:
    done = run(python, "check", *arguments, "--json", **environment)
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def described(models: Path, name: str, runtime: str) -> Manifest:
    """Describe a model as the build would, from what the runtime says of its tensors."""
    format_ = Format(name.rsplit(".", 1)[1])
    raw = open_artifact(format_, models / name)
    meanings = {"scores": "probabilities", "probabilities": "probabilities", "label": "label"}
    inputs = tuple(_spec(tensor, minimum=0.0, maximum=4.0, features=FEATURES) for tensor in raw.inputs)
    outputs = tuple(_spec(tensor, meaning=meanings[tensor.alias or tensor.name]) for tensor in raw.outputs)
    return bundles.manifest(
        inputs=inputs, outputs=outputs, labels=labels_of(name), runtimes={runtime: "1.0"}, format_=format_
    )


def labels_of(name: str) -> tuple[str, ...]:
    """Return the labels in the order of the probabilities: scikit-learn sorts texts."""
    return tuple(sorted(LABELS)) if name == "texts.onnx" else LABELS


def _spec(tensor: RawTensor, **facts: Any) -> TensorSpec:
    return TensorSpec(tensor.alias or tensor.name, tensor.dtype, tensor.shape, tensor.scale, tensor.zero_point, **facts)


@pytest.fixture
def write(models: Path, tmp_path: Path, python_of: Callable[[str], str]) -> Write:
    """Return what writes a bundle whose golden outputs its own runtime gave, `off` added to the last of them."""

    def writer(name: str, runtime: str, *, off: float = 0, artifact: bytes = b"") -> Path:
        manifest = described(models, name, runtime)
        rows = np.load(models / "data.npz")["rows"][:ROWS]
        inputs = {
            manifest.inputs[0].name: rows.astype(np.float64 if manifest.inputs[0].dtype == "float64" else np.float32)
        }
        quantized = manifest.outputs[0].scale > 0
        tolerance = Tolerance("lsb", 1) if quantized else Tolerance("absolute", 1e-6)
        content = (models / name).read_bytes()
        bare = bundles.write(
            tmp_path / "bare.sprat", manifest, content, GoldenSet(inputs, {}), tolerance=tolerance, baseline=BASELINE
        )
        np.savez(tmp_path / "inputs.npz", **inputs)
        outputs = infer_raw(python_of(runtime), bare, tmp_path)
        spec = manifest.outputs[-1]
        found = outputs[spec.name]
        # Away from the upper end, where an int8 would wrap around.
        outputs[spec.name] = found + np.where(found < 100, off, -off).astype(found.dtype)
        return bundles.write(
            tmp_path / f"{runtime}.sprat",
            manifest,
            artifact or content,
            GoldenSet(inputs, {runtime: outputs}),
            tolerance=tolerance,
            baseline=BASELINE,
        )

    return writer


def infer_raw(python: str, bundle: Path, folder: Path) -> dict[str, npt.NDArray[Any]]:
    done = run(python, "infer", bundle, folder / "inputs.npz", "--output", folder / "raw.npz", "--raw")
    assert done.returncode == 0, done.stderr
    with np.load(folder / "raw.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize(("name", "runtime"), CASES)
def test_a_bundle_gives_its_golden_outputs_on_its_runtime(
    name: str, runtime: str, write: Write, python_of: Callable[[str], str]
) -> None:
    code, document = checked(python_of(runtime), write(name, runtime), "--runtime", runtime)
    assert (code, document["ok"], document["reason"]) == (0, True, "")
    assert document["runtime"] == runtime
    assert document["golden"]["count"] == ROWS
    assert document["golden"]["worst"] <= document["golden"]["tolerance"]
    assert 0 < document["latency_us"]["p50"] <= document["latency_us"]["p99"]
    assert document["load_ms"] > 0
    assert 0 < document["ram_above_floor_kib"] < document["rss_peak_kib"]


@pytest.mark.parametrize(
    "case",
    [
        ("float.tflite", "litert", 0.01, "absolute"),
        ("int8.tflite", "tflite", 2, "lsb"),
        ("numbers.onnx", "onnx", 0.01, "absolute"),
    ],
)
def test_other_golden_outputs_are_a_mismatch(
    case: tuple[str, str, float, str], write: Write, python_of: Callable[[str], str]
) -> None:
    name, runtime, off, kind = case
    code, document = checked(python_of(runtime), write(name, runtime, off=off))
    assert (code, document["ok"], document["reason"]) == (1, False, Reason.GOLDEN_MISMATCH)
    assert document["golden"]["kind"] == kind
    assert document["golden"]["worst"] == pytest.approx(off, rel=1e-3)


def test_one_step_of_int8_is_within_one_lsb(write: Write) -> None:
    code, document = checked(sys.executable, write("int8.tflite", "litert", off=1))
    assert (code, document["golden"]["worst"]) == (0, 1)


@pytest.mark.parametrize(("name", "runtime"), [CASES[0], CASES[2], CASES[4]])
def test_an_artifact_that_is_no_model_is_not_loaded(
    name: str, runtime: str, write: Write, python_of: Callable[[str], str]
) -> None:
    code, document = checked(python_of(runtime), write(name, runtime, artifact=b"no model at all" * 9))
    assert (code, document["reason"]) == (1, Reason.NOT_LOADED)


def test_a_flipped_bit_is_refused(write: Write) -> None:
    bundle = write("float.tflite", "litert")
    raw = bytearray(bundle.read_bytes())
    place = raw.index(b"TFL3")
    raw[place + 40] ^= 1
    bundle.write_bytes(raw)
    code, document = checked(sys.executable, bundle)
    assert code == 1
    assert document["reason"] in {Reason.BAD_BUNDLE, Reason.HASH_MISMATCH}


def test_a_runtime_that_is_not_installed_is_named_with_its_remedy(write: Write) -> None:
    if "tflite" in runtimes.available():
        pytest.skip("tflite-runtime is installed beside the tests")
    code, document = checked(sys.executable, write("float.tflite", "tflite"))
    assert (code, document["reason"]) == (4, Reason.WRONG_RUNTIME)
    assert "install sprat-device[tflite]" in document["detail"]


def test_tflite_runtime_beside_numpy_2_is_named_as_such(write: Write, tflite_python: str, tmp_path: Path) -> None:
    bundle = write("float.tflite", "tflite")
    (packages,) = (Path(tflite_python).parents[1] / "lib").glob("python3*/site-packages")
    shown = tmp_path / "packages"
    shown.mkdir()
    for package in packages.glob("tflite_runtime*"):
        (shown / package.name).symlink_to(package)
    code, document = checked(sys.executable, bundle, PYTHONPATH=str(shown))
    assert code == 4
    assert "needs numpy < 2" in document["detail"]


def test_a_missing_bundle_is_wrong_use(tmp_path: Path) -> None:
    code, document = checked(sys.executable, tmp_path / "absent.sprat")
    assert (code, document["ok"]) == (2, False)
    assert "absent.sprat" in document["detail"]


@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_the_trained_model(
    case: tuple[str, str], write: Write, models: Path, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    """Float answers agree on every row; int8 within what its steps allow, and on nearly every label."""
    name, runtime = case
    bundle = write(name, runtime)
    done = run(python_of(runtime), "infer", bundle, tmp_path / "inputs.npz", "--output", tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as found:
        labels, outputs, reasons = found["label"], found["outputs"], found["reason"]
    assert not any(reasons)
    assert outputs.shape == (ROWS, 3)
    assert outputs.sum(axis=1) == pytest.approx(1, abs=0.02)
    if name == "int8.tflite":
        exact = Session.open(write("float.tflite", "litert"), cache=tmp_path / "cache")
        wanted = [exact.predict({"features": row}) for row in np.load(models / "data.npz")["rows"][:ROWS]]
        assert np.abs(outputs - [answer.outputs for answer in wanted]).max() < 0.08
        assert sum(labels == [answer.label for answer in wanted]) >= ROWS - 1
    elif name.endswith(".onnx"):
        data = np.load(models / "data.npz")
        places = [labels_of(name).index(LABELS[label]) for label in data["labels"][:ROWS]]
        assert np.mean(labels == places) > 0.8


def test_the_artifact_is_extracted_once_and_a_damaged_copy_is_made_anew(write: Write, tmp_path: Path) -> None:
    bundle, cache = write("numbers.onnx", "onnx"), tmp_path / "cache"
    Session.open(bundle, cache=cache)
    (copy,) = cache.iterdir()
    first = copy.stat()
    Session.open(bundle, cache=cache)
    assert copy.stat().st_ino == first.st_ino
    copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    session = Session.open(bundle, cache=cache)
    assert copy.name == f"{session.manifest.artifact.sha256}.onnx"
    assert bundles.sha(copy.read_bytes()) == session.manifest.artifact.sha256
    assert [path.name for path in cache.iterdir()] == [copy.name]


def test_onnx_runtime_keeps_to_its_number_of_threads(models: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from sprat_device.inference.runtimes import onnx\n"
        "from sprat_device.board.settings import RuntimeSettings\n"
        "onnx.library(); before = len(os.listdir('/proc/self/task'))\n"
        "s = onnx.load(Path(sys.argv[1]), RuntimeSettings(threads=int(sys.argv[2])))\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    for threads in (1, 3):
        done = subprocess.run(
            [sys.executable, "-c", code, models / "numbers.onnx", str(threads)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) == threads - 1


def test_no_runtime_is_imported_before_a_bundle_is_opened() -> None:
    code = (
        "import sys; import sprat_device.inference.loop, sprat_device.inference.check, sprat_device.inference.infer\n"
        "import sprat_device.inference.runtimes as r; r.available()\n"
        "print([m for m in ('tflite_runtime', 'ai_edge_litert', 'onnxruntime', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# One behaviour suite for the port of a raw session, on two real runtimes and on the tests' plain one.


def _plain(_models: Path) -> RawSession:
    def function(inputs: bundles.Arrays) -> bundles.Arrays:
        if inputs["features"].shape != (1, 4):
            raise RunFailed("wrong shape")
        return {"scores": np.ones((1, 3), np.float32) / 3}

    spec = RawTensor("features", "float32", (1, 4)), RawTensor("scores", "float32", (1, 3))
    return bundles.PlainRaw(spec[:1], spec[1:], function)


@pytest.fixture(params=["plain", "float.tflite", "texts.onnx"])
def raw(request: pytest.FixtureRequest, models: Path) -> RawSession:
    if request.param == "plain":
        return _plain(models)
    return open_artifact(Format(request.param.rsplit(".", 1)[1]), models / request.param)


def test_a_raw_session_gives_what_its_facts_say(raw: RawSession) -> None:
    (given,) = raw.inputs
    row = np.ones((1, 4), np.dtype(given.dtype))
    found = raw.run({given.name: row})
    assert found.keys() == {tensor.name for tensor in raw.outputs}
    for tensor in raw.outputs:
        array = found[tensor.name]
        kind = "U" if tensor.dtype == "string" else np.dtype(tensor.dtype).kind
        assert array.dtype.kind == kind
        assert all(said in (-1, real) for said, real in zip(tensor.shape, array.shape, strict=True))
        assert array.shape[0] == 1


def test_a_raw_session_answers_the_same_twice_and_keeps_no_view(raw: RawSession) -> None:
    (given,) = raw.inputs
    dtype = np.dtype(given.dtype)
    first = raw.run({given.name: np.ones((1, 4), dtype)})
    kept = {name: array.copy() for name, array in first.items()}
    raw.run({given.name: np.full((1, 4), 3, dtype)})
    again = raw.run({given.name: np.ones((1, 4), dtype)})
    for name, array in kept.items():
        assert np.array_equal(first[name], array)
        assert np.array_equal(again[name], array)


def test_a_raw_session_fails_with_its_own_error(raw: RawSession) -> None:
    (given,) = raw.inputs
    with pytest.raises(RunFailed):
        raw.run({given.name: np.ones((1, 9), np.dtype(given.dtype))})
    row = np.ones((1, 4), np.dtype(given.dtype))
    assert raw.run({given.name: row}).keys() == {tensor.name for tensor in raw.outputs}


def test_a_wrong_format_or_thread_count_is_refused(models: Path) -> None:
    with pytest.raises(WrongUse, match="threads"):
        open_artifact(Format.ONNX, models / "numbers.onnx", threads=0)
    with pytest.raises(BundleRefused, match="not-loaded"):
        open_artifact(Format.ONNX, models / "float.tflite")

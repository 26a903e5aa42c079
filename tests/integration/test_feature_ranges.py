"""A room's temperature in °F where the model knows °C, beside a pressure a thousand times as large: no prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import KeptRecords

from sprat.compiler.build import build
from sprat.compiler.inspection import describe
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import Origin
from sprat_device.inference.loop import Loop
from sprat_device.inference.session import Session
from sprat_device.inference.sources.replay import Replay

pytestmark = pytest.mark.integration

RECIPE = """
schema = "sprat.recipe/1"
model = "room"
task = "classification"
labels = ["empty", "occupied"]
schemes = ["float64-onnx"]
[data]
label = "occupied"
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.reading]
features = ["temperature", "pressure"]
"""
FACTORY = """
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def data():
    rng = np.random.default_rng(0)
    temperature, pressure = rng.uniform(19, 23, 400), rng.uniform(98_000, 102_000, 400)
    return {"temperature": temperature, "pressure": pressure, "occupied": (temperature > 21).astype(int)}

def model(train, validation, *, seed):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(train.inputs["reading"], train.labels)
"""


def test_a_small_feature_in_a_wrong_unit_is_an_event_and_no_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "factory.py").write_text(FACTORY)
    (made,) = build(tmp_path, out=tmp_path / "out", runner="local").bundles
    session = Session.open(made.path, cache=tmp_path / "extracted")
    (spec,) = session.manifest.inputs
    assert [spec.minimums[0], spec.maximums[0]] == pytest.approx([19, 23], abs=0.1)
    assert describe(made.path)["inputs"][0]["minimums"] == list(spec.minimums)

    celsius = np.array([[20.0, 100_000.0], [22.5, 99_000.0]], spec.dtype)
    fahrenheit = celsius * np.array([1.8, 1], spec.dtype) + np.array([32, 0], spec.dtype)
    recorder, clock = KeptRecords(), ManualClock()
    loop = Loop(Replay({"reading": np.concatenate([celsius, fahrenheit])}, clock), recorder, clock, lambda *_told: None)
    loop.swap(session, Origin(ModelName("room"), 1, session.bundle_digest))
    for _ in range(4):
        loop.step(0)
    assert [one.index for _, one in recorder.predictions] == [0, 1]
    assert [one.label for _, one in recorder.predictions] == [0, 1]
    assert [(code, told["index"]) for code, told, _ in recorder.events] == [
        (Reason.INPUT_RANGE, 2),
        (Reason.INPUT_RANGE, 3),
    ]
    assert "'temperature' 68, expected" in str(recorder.events[0][1]["detail"])
    assert loop.errors == 2

"""A baseline that a real build froze, on a device: readings like those of training are no shift, others are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests import onnx_models

from sprat.compiler.build import build
from sprat_device.board.settings.drift import DriftSettings
from sprat_device.contract.bundle import Baseline
from sprat_device.inference.answers import Answer
from sprat_device.inference.session import Session
from sprat_device.inference.shift import Shift, Told
from sprat_device.inference.tally import Tally

pytestmark = pytest.mark.integration

RECIPE = """
schema = "sprat.recipe/1"
model = "tiny"
task = "classification"
labels = ["low", "high"]
schemes = ["float64-onnx"]
[data]
label = "kind"
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.x]
features = ["a", "b", "c"]
"""
FACTORY = """
import numpy as np
from sklearn.ensemble import RandomForestClassifier

def rows(seed, count):
    rng = np.random.default_rng(seed)
    table = np.round(rng.normal(20, 2, (count, 3)), 1)  # one decimal, as sensors give it
    kind = (table[:, 0] + rng.normal(0, 1.5, count) > 20).astype(int)
    return table, kind

def data():
    table, kind = rows(0, 1500)
    return {"a": table[:, 0], "b": table[:, 1], "c": table[:, 2], "kind": kind}

def model(train, validation, *, seed):
    # Grown to the last row: it is sure of what it was trained on, and of nothing else.
    return RandomForestClassifier(30, random_state=seed).fit(train.inputs["x"], train.labels)
"""


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))


class Device:
    """A session with the baseline of its bundle."""

    def __init__(self, folder: Path) -> None:
        (made,) = build(folder, out=folder / "out", runner="local").bundles
        self.session = Session.open(made.path, cache=folder / "cache")
        (self.input,) = self.session.manifest.inputs

    @property
    def baseline(self) -> Baseline:
        return self.session.baseline

    def shown(self, rows: npt.NDArray[np.generic]) -> Told | None:
        """Show readings to the model, and return what the device says of a shift then."""
        tally, shift = Tally(self.session, since_us=0), Shift(self.baseline, DriftSettings(readings=len(rows)))
        dtype = "float32" if self.input.scale else self.input.dtype
        for place, row in enumerate(rows.astype(dtype)):
            reading = {self.input.name: row}
            assert self.session.check_input(reading) is None
            answer: Answer = self.session.predict(reading)
            tally.predicted(reading, answer, 50, place * 10_000)
        told = tally.take(1)
        assert told is not None
        return shift.add(told)


def test_a_table_of_one_decimal_and_a_forest_that_knows_its_rows_by_heart(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "factory.py").write_text(FACTORY)
    device = Device(tmp_path)
    assert set(device.baseline.edges) == {"a", "b", "c"}
    assert set(device.baseline.statistic_edges) == {"output:confidence"}

    factory: dict[str, object] = {}
    exec(FACTORY, factory)  # noqa: S102 - our own text
    fresh = factory["rows"](1, 1500)[0]  # type: ignore[operator]
    assert device.shown(fresh) is None
    warmer = device.shown(fresh + np.array([3.0, 0, 0]))
    assert warmer is not None
    shifted = warmer.detail["features"]
    assert isinstance(shifted, dict)
    assert next(iter(shifted)) == "a"
    assert set(shifted) <= {"a", "classes", "output:confidence"}


def test_images_that_grow_dark(tmp_path: Path) -> None:
    device = Device(onnx_models.project(tmp_path, onnx_models.cnn()))
    assert {"mean:image[0]", "std:image[7]", "output:confidence"} <= set(device.baseline.statistic_edges)
    images, _classes = onnx_models.digits()
    assert device.shown(images[:900]) is None
    dark = device.shown(images[:900] * 0.5)
    assert dark is not None
    shifted = dark.detail["features"]
    assert isinstance(shifted, dict)
    assert any(name.startswith("mean:image") for name in shifted)

"""Embeddings from a recipe to the alarm: readings that look like those of training and are not.

Pictures that are turned by a quarter have the very same brightness, contrast and pixel values.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper
from tests import onnx_models
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import KeptRecords

from sprat import cli
from sprat.compiler.build import build
from sprat.errors import RecipeError
from sprat.hub.queries.arrivals import drift_map
from sprat.hub.store.telemetry_values import HOUR_US, DriftRow
from sprat.hub.telemetry.rollup import of_summary
from sprat_device.board.settings.drift import DriftSettings
from sprat_device.contract import bundle as bundles
from sprat_device.contract import manifest as manifests
from sprat_device.contract import statistics, summary
from sprat_device.contract.manifest import EMBEDDING
from sprat_device.contract.records import Origin, Row
from sprat_device.contract.sketch import psi
from sprat_device.contract.summary import Summary
from sprat_device.inference.loop import Loop
from sprat_device.inference.session import Session
from sprat_device.inference.shift import Shift, Told
from sprat_device.inference.sources.replay import Replay
from sprat_device.inference.tally import Tally

pytestmark = pytest.mark.integration

KNOWN = 1200
RECIPE = """
schema = "sprat.recipe/1"
model = "digits"
task = "classification"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
schemes = {schemes}
embedding = "{embedding}"
[data]
file = "rows.npz"
label = "digit"
[train]
{train}
[inputs.{name}]
minimum = 0
maximum = 16
[gates]
max_drop = 0.06
max_recall_drop = 0.3
min_agreement = 0.9
"""
FACTORY = """
def model(train, validation, *, seed):
    import keras
    from keras import layers

    network = keras.Sequential([
        keras.Input((8, 8, 1), name="image"), layers.Rescaling(1 / 16),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(32, activation="relu", name="features"), layers.Dense(10, activation="softmax"),
    ])
    network.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    network.fit(train.inputs["image"], train.labels, batch_size=32, epochs=10, verbose=0)
    return network
"""


def digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images.astype(np.float32)[..., None], data.target


def project(folder: Path, *, schemes: list[str], embedding: str, train: str, name: str = "image") -> Path:
    folder.mkdir()
    images, classes = digits()
    np.savez(folder / "rows.npz", **{name: images[:KNOWN], "digit": classes[:KNOWN].astype(str)})
    text = RECIPE.format(schemes=schemes, embedding=embedding, train=train, name=name)
    (folder / "recipe.toml").write_text(text.replace("'", '"'))
    return folder


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "DATA", "CACHE"):
            patch.setenv(f"SPRAT_{name}_DIR", str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that a build trained, int8 from input to output."""
    train = 'framework = "keras"\nfactory = "factory.py"\nseed = 1'
    folder = project(tmp_path_factory.mktemp("keras") / "p", schemes=["int8-full"], embedding="features", train=train)
    (folder / "factory.py").write_text(FACTORY)
    (made,) = build(folder, out=folder / "out").bundles
    return made.path


@dataclass
class Seen:
    """What a device made of some readings."""

    summary: Summary
    told: Told | None
    psi: dict[str, float]

    @property
    def features(self) -> set[str]:
        return set() if self.told is None else set(self.told.detail["features"])  # type: ignore[call-overload]


class Device:
    """A session with the baseline of its bundle, and a clock of its own: ten readings a second."""

    def __init__(self, bundle: Path, cache: Path, **more: str) -> None:
        self.session = Session.open(bundle, cache=cache, **more)  # type: ignore[arg-type]
        (self.input,) = self.session.manifest.inputs

    def shown(self, rows: npt.NDArray[np.float32]) -> Seen:
        baseline = self.session.baseline
        tally, shift = Tally(self.session, since_us=0), Shift(baseline, DriftSettings(readings=len(rows)))
        for place, row in enumerate(rows):
            reading = {self.input.name: row}
            assert self.session.check_input(reading) is None
            tally.predicted(reading, self.session.predict(reading), 50, place * 100_000)
        taken = tally.take(1)
        assert taken is not None
        told = summary.parse(taken.detail())  # as the hub reads it
        counts = {name: np.asarray(counts) for name, counts in told.drift.items()}
        return Seen(told, shift.add(told), {name: psi(baseline.all_counts[name], counts[name]) for name in counts})


def turned(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(np.rot90(images, axes=(1, 2)))


def test_pictures_that_are_turned_are_told_by_the_embedding_where_brightness_is_the_same(
    built: Path, tmp_path: Path
) -> None:
    device = Device(built, tmp_path)
    spec = device.session.manifest.outputs[0]
    assert (spec.name, spec.meaning, spec.dtype, spec.scale > 0) == ("features", EMBEDDING, "int8", True)
    fresh = digits()[0][KNOWN:]
    clean = device.shown(fresh)
    assert clean.told is None
    off = device.shown(turned(fresh))
    channels = {one.name for one in statistics.of_input(device.input)} | {device.input.name}
    assert channels == {"mean:image", "std:image", "image"}
    assert {name: off.summary.drift[name] for name in channels} == {
        name: clean.summary.drift[name] for name in channels
    }
    assert off.told is not None
    assert off.told.code == "drift"
    assert {"embedding:residual", "embedding:distance"} <= off.features
    assert max(clean.psi[name] for name in ("embedding:residual", "embedding:distance")) < 0.15
    assert min(off.psi[name] for name in ("embedding:residual", "embedding:distance")) > 0.5


def test_the_agents_loop_tells_it_once_and_its_end_and_no_prediction_carries_it(built: Path, tmp_path: Path) -> None:
    fresh = digits()[0][KNOWN:]
    rows = np.concatenate([fresh, turned(fresh), turned(fresh), fresh])
    clock, records = ManualClock(), KeptRecords()
    source = Replay({"image": rows}, clock, loop=False, sleep=lambda _s: None)
    settings = DriftSettings(readings=len(fresh))
    loop = Loop(source, records, clock, lambda *_: None, summary_interval_s=60, drift=settings)
    session = Session.open(built, cache=tmp_path)
    loop.swap(session, Origin(session.manifest.model, 1, session.bundle_digest))
    for place in range(len(rows)):
        if place % len(fresh) == len(fresh) - 1:
            clock.advance(60)
        assert loop.step(0)
    loop.close()
    assert [code for code, _detail, _bundle in records.events] == ["drift", "drift-ended"]
    assert "embedding:residual" in str(records.events[0][1])
    assert {prediction.outputs.shape for _origin, prediction in records.predictions} == {(10,)}


def test_a_kind_that_training_never_saw_is_told(built: Path, tmp_path: Path) -> None:
    fresh = digits()[0][KNOWN:]
    noise = np.random.default_rng(3).permuted(fresh.reshape(len(fresh), -1), axis=1).reshape(fresh.shape)
    off = Device(built, tmp_path).shown(noise)
    assert off.told is not None
    assert off.psi["mean:image"] < 0.15
    assert min(off.psi[name] for name in ("embedding:residual", "embedding:distance")) > 0.25


def test_every_runtime_of_the_bundle_has_its_embeddings_in_the_golden_set(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", str(built), "--quiet"]) == 0
    with built.open("rb") as file, bundles.read(file) as bundle:
        manifest, golden, raw = bundle.manifest, bundle.golden(), bundle.baseline()
    assert manifest.golden.embedding_tolerances.keys() == manifest.runtimes.keys()
    assert all(golden.outputs[runtime]["features"].shape == (32, 32) for runtime in manifest.runtimes)
    assert raw.space is not None
    assert manifests.parse(manifest.dump()) == manifest
    capsys.readouterr()
    assert cli.main(["inspect", str(built), "--json"]) == 0
    assert "embedding:distance" in json.loads(capsys.readouterr().out)["baseline_statistics"]


def test_the_hub_shows_it_among_the_features_of_the_bundle(built: Path, tmp_path: Path) -> None:
    device = Device(built, tmp_path)
    off = device.shown(turned(digits()[0][KNOWN:]))
    row = Row(summary.CODE, 1, 0, off.summary.detail(), "digits", device.session.bundle_digest)
    _rollup, drift = of_summary(row, HOUR_US)
    rows = [DriftRow(one.hour_us, one.bundle, one.feature, one.counts) for one in drift]
    shown = dict(drift_map(row.bundle, rows, device.session.baseline.all_counts, last_us=HOUR_US, hours=1).rows)
    assert next(iter(shown)) == "embedding:residual"
    assert shown["embedding:residual"][0] == pytest.approx(off.psi["embedding:residual"])


def test_an_output_of_a_given_tflite(built: Path, tmp_path: Path) -> None:
    folder = project(
        tmp_path / "p", schemes=["given"], embedding="features", train='framework = "tflite"\ngiven = "given.tflite"'
    )
    with built.open("rb") as file, bundles.read(file) as bundle, (folder / "given.tflite").open("wb") as into:
        bundle.copy_artifact(into)
    (made,) = build(folder, out=tmp_path / "out").bundles
    device = Device(made.path, tmp_path)
    assert [spec.meaning for spec in device.session.manifest.outputs] == [EMBEDDING, "probabilities"]
    fresh = digits()[0][KNOWN:]
    assert device.shown(fresh).told is None
    assert "embedding:residual" in device.shown(turned(fresh)).features
    (folder / "recipe.toml").write_text((folder / "recipe.toml").read_text().replace('"features"', '"feature"'))
    with pytest.raises(RecipeError, match=r"embedding: output 'feature' is not in the model, which has features, "):
        build(folder, out=tmp_path / "out2")


def test_an_output_of_a_given_onnx_that_is_tried_in_eight_bits_too(tmp_path: Path) -> None:
    model = onnx_models.cnn(hidden=48)
    model.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["batch", 48]))
    onnx.checker.check_model(model)
    lines = 'embedding = "h"\nschemes = ["given-onnx", "qdq-mixed", "qdq-minmax-u8-pc"]'
    folder = onnx_models.project(tmp_path / "p", model, lines=lines)
    result = build(folder, out=tmp_path / "out", runner="local")
    (made,) = result.bundles
    assert made.scheme == "qdq-minmax-u8-pc", [(row.scheme, row.reason) for row in result.candidates]
    device = Device(made.path, tmp_path)
    manifest = device.session.manifest
    assert {spec.name: spec.meaning for spec in manifest.outputs} == {"h": EMBEDDING, "scores": "probabilities"}
    images = onnx_models.digits()[0]
    assert device.shown(images[:800]).told is None
    off = device.shown(np.ascontiguousarray(np.rot90(images[:800], axes=(2, 3))))
    assert "embedding:distance" in off.features | {name for name, value in off.psi.items() if value > 0.25}


MODELS = """
import json
import keras
from keras import layers
from sprat.compiler.frontends import keras_embedding
from sprat.errors import RecipeError

def sequential():
    return keras.Sequential([keras.Input((4,), name="x"), layers.Dense(3, name="features"), layers.Dense(2)])

def two_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((2,), name="b")
    features = layers.Concatenate(name="features")([a, b])
    return keras.Model({"a": a, "b": b}, {"kind": layers.Dense(2)(features), "size": layers.Dense(1)(features)})

def named():
    x = keras.Input((4,), name="x")
    features = layers.Dense(3)(x)
    return keras.Model(x, {"features": features, "kind": layers.Dense(2)(features)})

def nested():
    x = keras.Input((4,), name="x")
    return keras.Model(x, layers.Dense(2, name="last")(sequential()(x)))

class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.features = layers.Dense(3, name="features")

    def call(self, x):
        return {"features": self.features(x), "kind": self.features(x)[:, :2]}

def subclassed():
    model = Subclassed()
    model(keras.ops.ones((1, 4)))
    return model

told = {}
for make in (sequential, two_inputs, named, nested, subclassed):
    model = make()
    try:
        made = keras_embedding.beside(model, "features")
    except RecipeError as exc:
        told[make.__name__] = str(exc)
        continue
    rows = {"a": keras.ops.ones((5, 4)), "b": keras.ops.ones((5, 2))} if make is two_inputs else keras.ops.ones((5, 4))
    told[make.__name__] = {name: list(tensor.shape) for name, tensor in sorted(made(rows).items())}
print(json.dumps(told))
"""


def test_which_layers_of_keras_models_are_found(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(MODELS)
    done = subprocess.run([sys.executable, "models.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["sequential"] == {"features": [5, 3], "output_0": [5, 2]}
    assert told["two_inputs"] == {"features": [5, 6], "kind": [5, 2], "size": [5, 1]}
    assert told["named"] == {"features": [5, 3], "kind": [5, 2]}
    assert told["nested"].startswith("embedding: layer 'features' is not in the model, which has x, sequential")
    assert told["subclassed"] == {"features": [5, 3], "kind": [5, 2]}

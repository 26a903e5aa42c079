"""Keras and TFLite through the compiler's own process: real conversions of tiny models, judged by the device's runtimes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sprat import cli, load
from sprat.compiler.build import build
from sprat.errors import RecipeError
from sprat_device.contract import bundle as bundles

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

DATA = """
import numpy as np

def data():
    # Three kinds of waves in three channels, with noise.
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 500)
    time = np.arange(16)[None, :, None] * (1 + kind[:, None, None])
    channel = np.arange(3)[None, None, :]
    wave = np.sin(0.4 * time + channel + rng.uniform(0, 6, (500, 1, 1)))
    return {"x": (wave + rng.normal(0, 0.1, wave.shape)).astype("float32"), "kind": kind}

def trained(network, train, epochs, rate=0.01):
    import keras
    network.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
    network.fit(train.inputs["x"], train.labels, batch_size=32, epochs=epochs, verbose=0)
    return network
"""

MODELS = {
    "convolution": """
def model(train, validation, *, seed, epochs=6):
    import keras
    from keras import layers
    network = keras.Sequential([
        keras.Input((16, 3)), layers.Conv1D(16, 3, activation="relu"), layers.BatchNormalization(),
        layers.SeparableConv1D(64, 3, activation="relu"), layers.GlobalAveragePooling1D(),
        layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax"),
    ])
    return trained(network, train, epochs)
""",
    "subclassed": """
def model(train, validation, *, seed, epochs=6):
    import keras
    from keras import layers

    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.grow = layers.Dense(40)
            self.spread = layers.DepthwiseConv1D(3, activation="relu")
            self.flat = layers.Flatten()
            self.head = layers.Dense(3, activation="softmax")

        def call(self, x):
            return self.head(self.flat(self.spread(self.grow(x))))

    return trained(Network(), train, epochs)
""",
    "attention": """
def model(train, validation, *, seed, epochs=6):
    import keras
    from keras import layers
    x = keras.Input((16, 3), name="x")
    h = layers.Dense(16)(x)
    h = layers.LayerNormalization()(h + layers.MultiHeadAttention(2, 8)(h, h))
    h = layers.LayerNormalization()(h + layers.Dense(16)(layers.Dense(32, activation="gelu")(h)))
    return trained(keras.Model(x, layers.Dense(3, activation="softmax")(layers.Flatten()(h))), train, epochs, 0.003)
""",
    "lstm": """
def model(train, validation, *, seed, epochs=8, steps=16):
    import keras
    from keras import layers
    network = keras.Sequential([
        keras.Input((steps, 3), name="x"), layers.LSTM(12), layers.Dense(3, activation="softmax"),
    ])
    return trained(network, train, epochs, 0.02)
""",
    "gru": """
def model(train, validation, *, seed, epochs=8):
    import keras
    from keras import layers
    network = keras.Sequential([
        keras.Input((16, 3), name="x"), layers.Bidirectional(layers.GRU(8)), layers.Dense(3, activation="softmax"),
    ])
    return trained(network, train, epochs, 0.02)
""",
}

RECIPE = """
schema = "sprat.recipe/1"
model = "tiny"
task = "classification"
labels = ["slow", "middle", "fast"]
schemes = {schemes}
[data]
label = "kind"
[train]
framework = "keras"
factory = "factory.py"
[inputs.x]
[gates]
max_drop = 0.1
min_agreement = 0.9
max_recall_drop = 0.2
[golden]
count = 8
"""


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in ("RUNS", "DATA"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("SPRAT_RUNTIMES_DIR", os.environ.get("SPRAT_RUNTIMES_DIR", str(ROOT / ".runtimes")))


def project(folder: Path, model: str, *schemes: str, data: str = DATA, recipe: str = RECIPE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "factory.py").write_text(data + model)
    (folder / "recipe.toml").write_text(recipe.replace("{schemes}", json.dumps(list(schemes))))
    return folder


def rows_of(result):
    return {row.scheme: row for row in result.candidates}


def manifest_of(result):
    with result.bundles[0].path.open("rb") as file, bundles.read(file) as bundle:
        return bundle.manifest


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(MODELS))
def test_each_kind_of_model_passes_gate_a_as_tflite_and_as_onnx(tmp_path, kind):
    folder = project(tmp_path / kind, MODELS[kind], "float32", "float32-onnx")
    result = build(folder, out=tmp_path / "out", runner="local")
    rows = rows_of(result)
    # Gate A: scores within 1e-4 of Keras itself, no label changed; GELU, loops and captured constants included.
    assert rows["float32"].runtimes == ("litert",), rows["float32"].reason
    assert rows["float32-onnx"].runtimes == ("onnx",), rows["float32-onnx"].reason
    assert result.research_metric > result.yardstick


LONG = """
def model(train, validation, *, seed, epochs=2):
    import keras
    from keras import layers
    x = keras.Input((160, 3), name="x")
    wide = layers.GlobalMaxPooling1D()(layers.Conv1D(16, 5, activation="relu")(x))
    both = layers.Concatenate()([layers.LSTM(4)(x), wide])
    return trained(keras.Model(x, layers.Dense(3, activation="softmax")(both)), train, epochs)
"""


@pytest.mark.slow
def test_int8_of_a_long_lstm_crashes_the_converter_and_costs_one_candidate(tmp_path):
    folder = project(
        tmp_path / "long", LONG, "float32", "int8", "dynamic", data=DATA.replace("arange(16)", "arange(160)")
    )
    result = build(folder, out=tmp_path / "out", runner="local")
    rows = rows_of(result)
    assert rows["int8"].reason.startswith("conversion-failed: the process ended with signal 11")
    # The worker was started again: what came after the crash is there.
    assert rows["dynamic"].size > 0
    assert rows["float32"].runtimes == ("litert",)


@pytest.mark.slow
def test_a_short_lstm_is_written_out_and_so_quantized(tmp_path):
    folder = project(tmp_path / "lstm", MODELS["lstm"], "int8", "int16x8")
    result = build(folder, out=tmp_path / "out", runner="local")
    rows = rows_of(result)
    assert rows["int8"].runtimes == ("litert",), rows["int8"].reason
    assert rows["int16x8"].runtimes == ("litert",), rows["int16x8"].reason
    manifest = manifest_of(result)
    assert manifest.provenance["options"]["unrolled"] is True
    assert "WHILE" not in manifest.provenance["ops"]


@pytest.mark.slow
def test_schemes_of_a_small_network_say_what_they_did(tmp_path):
    names = ("float32", "dynamic", "int8-full", "int16x8", "int8-mixed")
    folder = project(tmp_path / "conv", MODELS["convolution"].replace("64", "8").replace("32", "8"), *names)
    rows = rows_of(build(folder, out=tmp_path / "out", runner="local"))
    # Weights of less than 1,024 numbers stay float, and the converter says nothing of it.
    assert rows["dynamic"].reason.startswith("no-op: ")
    assert rows["int16x8"].agreement > 0.97
    assert rows["int8-mixed"].reason.split(":")[0] in {"not-needed", "outranked", "not-smaller", "conversion-failed"}


FEATURES = """
import numpy as np

def data():
    from sklearn.datasets import load_breast_cancer
    found = load_breast_cancer()  # 30 features, from thousandths to thousands
    return {"x": found.data.astype("float32"), "kind": found.target}
"""
SCALED = """
def model(train, validation, *, seed, folded=False, epochs=30):
    import keras
    from keras import layers
    rows = train.inputs["x"]
    scale = layers.Normalization()
    scale.adapt(rows)
    first = layers.Dense(24, activation="relu")
    network = keras.Sequential([keras.Input((30,), name="x"), scale, first, layers.Dense(2, activation="softmax")])
    network.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    network.fit(rows, train.labels, batch_size=32, epochs=epochs, verbose=0)
    if not folded:
        return network
    weights, bias = first.get_weights()
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    plain = keras.Sequential([keras.Input((30,), name="x"), layers.Dense(24, activation="relu"), network.layers[-1]])
    plain.layers[0].set_weights([weights / deviation[:, None], bias - (mean / deviation) @ weights])
    return plain
"""


@pytest.mark.slow
def test_a_normalization_in_the_graph_keeps_int8_accurate_and_one_folded_into_weights_does_not(tmp_path):
    recipe = RECIPE.replace('labels = ["slow", "middle", "fast"]', 'labels = ["malignant", "benign"]')
    folder = project(tmp_path / "scaled", SCALED, "float32", "int8", "int8-mixed", data=FEATURES, recipe=recipe)
    kept = build(folder, out=tmp_path / "kept", runner="local")
    folded = build(folder, out=tmp_path / "folded", runner="local", overrides=("train.folded=true",))
    # Folded, the float model is the same, and nothing can be left float to save it.
    assert rows_of(folded)["float32"].chosen
    assert rows_of(folded)["float32"].metric == pytest.approx(rows_of(kept)["float32"].metric, abs=0.02)
    assert "litert" not in rows_of(folded)["int8"].runtimes
    # In the graph it is found, left float, and all else is int8: as accurate as float.
    rows = rows_of(kept)
    assert rows["int8"].reason.startswith("metric-drop: ")
    assert rows["int8-mixed"].chosen, rows["int8-mixed"].reason
    assert rows["int8-mixed"].metric > rows["float32"].metric - 0.02
    left = manifest_of(kept).provenance["options"]["float_layers"]
    assert any("normalization" in name and name.endswith("Sub") for name in left)


def test_keras_to_onnx_gives_the_same_bytes_in_another_process(tmp_path):
    folder = project(tmp_path / "bytes", MODELS["lstm"], "float32-onnx")
    first, again = (
        build(folder, out=tmp_path / name, runner="local", cache=False, overrides=("train.epochs=4",))
        for name in ("one", "two")
    )
    assert first.bundles[0].sha256 == again.bundles[0].sha256


TWO = """
def model(train, validation, *, seed):
    import keras
    from keras import layers
    x, y = keras.Input((16, 3), name="x"), keras.Input((2,), name="y")
    h = layers.Concatenate()([layers.GlobalMaxPooling1D()(layers.Conv1D(16, 5, activation="relu")(x)), y])
    network = keras.Model([x, y], {"fast": layers.Dense(1, activation="sigmoid", name="fast")(h), "inside": h})
    network.compile(optimizer=keras.optimizers.Adam(0.01), loss={"fast": "binary_crossentropy", "inside": None})
    network.fit(dict(train.inputs), {"fast": train.labels[:, None]}, batch_size=32, epochs=8, verbose=0)
    return network
"""


@pytest.mark.slow
def test_two_inputs_by_name_and_of_two_outputs_the_one_that_the_recipe_names(tmp_path):
    data = DATA.replace('"kind": kind}', '"kind": kind // 2, "y": rng.normal(0, 1, (500, 2)).astype("float32")}')
    recipe = RECIPE.replace('labels = ["slow", "middle", "fast"]', 'labels = ["slow", "fast"]\nanswer = ["fast"]')
    recipe = recipe.replace("[inputs.x]", "[inputs.x]\n[inputs.y]")
    folder = project(tmp_path / "two", TWO, "float32", "float32-onnx", data=data, recipe=recipe)
    result = build(folder, out=tmp_path / "out", runner="local")
    assert {row.scheme: row.runtimes for row in result.candidates} == {
        "float32": ("litert",),
        "float32-onnx": ("onnx",),
    }
    manifest = manifest_of(result)
    assert {spec.name: spec.meaning for spec in manifest.outputs} == {"inside": "", "fast": "probabilities"}
    with load(result.bundles[0].path) as model:
        rng = np.random.default_rng(1)
        answer = model.run({"x": rng.normal(0, 1, (16, 3)), "y": rng.normal(0, 1, 2)})[0]
    assert answer["outputs"].sum() == pytest.approx(1)


def test_an_output_that_is_not_there_is_named(tmp_path, capsys):
    recipe = RECIPE.replace("[data]", 'answer = ["scores"]\n[data]', 1)
    folder = project(tmp_path / "none", MODELS["convolution"], "float32", recipe=recipe)
    line = ["build", str(folder), "--out", str(tmp_path / "out"), "--quiet", "--set", "train.epochs=1"]
    assert cli.main(line) == 2
    assert "output 'scores' is not in the model, which has output_0" in capsys.readouterr().err


LOGITS = """
def model(train, validation, *, seed, epochs=8, width=3):
    import keras
    network = keras.Sequential([keras.Input((16, 3), name="x"), keras.layers.Flatten(), keras.layers.Dense(32, "relu"),
                                keras.layers.Dense(width)])
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(train.inputs["x"], np.minimum(train.labels, width), epochs=epochs, verbose=0)
    return network
"""


def test_scores_that_are_no_probabilities_are_called_so(tmp_path):
    result = build(project(tmp_path / "p", LOGITS, "float32"), out=tmp_path / "out", runner="local")
    assert any("end it in a softmax for probabilities" in warning for warning in result.warnings)
    assert [spec.meaning for spec in manifest_of(result).outputs] == ["decision"]
    with load(result.bundles[0].path) as model:
        assert model.run({"x": np.zeros((1, 16, 3), np.float32)})[0]["label"] in {0, 1, 2}


def test_one_logit_for_two_classes_is_refused(tmp_path):
    text = LOGITS.replace("Dense(width)", "Dense(1)").replace("SparseCategoricalCrossentropy", "BinaryCrossentropy")
    folder = project(
        tmp_path / "p", text, "float32", recipe=RECIPE.replace('["slow", "middle", "fast"]', '["slow", "fast"]'),
        data=DATA.replace("integers(0, 3, 500)", "integers(0, 2, 500)"),
    )  # fmt: skip
    with pytest.raises(RecipeError, match=r"one number for two classes, from .* end it in a sigmoid"):
        build(folder, out=tmp_path / "out", runner="local")

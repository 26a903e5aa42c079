"""Keras and TFLite through the compiler's own process: real conversions of tiny models, judged by the device's runtimes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sprat.compiler.build import build
from sprat_device.contract import bundle as bundles

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

DATA = """

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

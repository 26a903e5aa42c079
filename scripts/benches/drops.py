"""How little of the metric is lost, and how well the test rows can tell: int8 files of three networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rows import Row

from sprat.compiler.build import build
from sprat.compiler.proof import paired
from sprat.compiler.result import BuildResult
from sprat.settings import Settings

MODELS = Path(__file__).parents[2] / "models"
MOST_DROP = 0.005
MANY_TEST_ROWS = (
    "data.split.train=0.4", "data.split.calibration=0.05", "data.split.validation=0.1", "data.split.test=0.45",
)  # fmt: skip
"""The recipe's own 360 test rows are too few to bound a drop to 0.5 points, whatever the candidate."""
INT8 = 'schemes=["int8"]'
OPEN = ("gates.max_drop=1", "gates.max_recall_drop=1", "gates.min_agreement=0")
"""A bench tells what there is: no gate may stop it."""
RESNET8 = '''
"""ResNet-8 as MLPerf Tiny has it (Banbury et al., arXiv 2106.07597): three stages of two convolutions, 78 K weights."""


def data():
    import numpy as np
    from sklearn.datasets import load_digits

    found = load_digits()
    large = np.kron(found.images / 16, np.ones((4, 4)))  # 8 x 8 to 32 x 32
    return {"image": np.repeat(large[..., None], 3, axis=-1).astype("float32"), "label": found.target}


def model(train, validation, *, seed, epochs=8):
    import keras
    from keras import layers

    def normed(x, filters, size, stride, relu=True):
        x = layers.BatchNormalization()(layers.Conv2D(filters, size, stride, "same")(x))
        return layers.ReLU()(x) if relu else x

    x = image = keras.Input((32, 32, 3), name="image")
    x = normed(x, 16, 3, 1)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        inner = normed(normed(x, filters, 3, stride), filters, 3, 1, relu=False)
        skip = x if stride == 1 else layers.Conv2D(filters, 1, stride, "same")(x)
        x = layers.ReLU()(layers.Add()([inner, skip]))
    answer = layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(x))
    net = keras.Model(image, answer)
    net.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    net.fit(train.inputs["image"], train.labels, batch_size=32, epochs=epochs, verbose=0)
    return net
'''
RESNET8_RECIPE = """
schema = "sprat.recipe/1"
model = "resnet8"
task = "classification"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[data.split]
seed = 1
[train]
framework = "keras"
factory = "factory.py"
[inputs.image]
"""


def measure(folder: Path, settings: Settings, say: Callable[[str], None], *, quick: bool) -> list[Row]:
    """Return a row for each network; a goal only where the test rows are enough to show it."""
    resnet8 = folder / "resnet8"
    resnet8.mkdir()
    (resnet8 / "recipe.toml").write_text(RESNET8_RECIPE)
    (resnet8 / "factory.py").write_text(RESNET8)
    short = ("train.epochs=3",) if quick else ()
    wanted = (
        ("digits", MODELS / "digits", MANY_TEST_ROWS), ("ResNet-8", resnet8, MANY_TEST_ROWS), ("motion", MODELS / "motion", ()),
    )  # fmt: skip
    found = []
    for name, recipe, overrides in wanted:
        out = folder / f"drop-{recipe.name}"
        made = build(
            recipe, out=out, overrides=(*overrides, *OPEN, *short, INT8), cache=False, runner="local", settings=settings,
            say=say,
        )  # fmt: skip
        found.append(_row(name, made))
    return found


def _row(name: str, made: BuildResult) -> Row:
    """Return Tango's bound of the drop, which holds where no row changed too; the bootstrap's would be 0 there."""
    (bundle,) = made.bundles
    worst = max(bundle.measured["runtimes"].values(), key=lambda one: one["drop"]["high"])
    rows, lost = worst["total"], round(worst["drop"]["value"] * worst["total"])
    bound = paired.interval(max(lost, 0), max(-lost, 0), rows)[1]
    needed = paired.rows_to_bound(0, 0, rows, MOST_DROP)
    said = f"(bootstrap {worst['drop']['low'] * 100:.2f}..{worst['drop']['high'] * 100:.2f} on {rows} rows, "
    said += f"{lost} fewer right; {needed} rows are the least that can show it)"
    goal = "<= 1.0" if rows >= needed else ""
    return Row("compiler", f"bound of the drop, {name} ({bundle.scheme})", bound * 100, "pts", "allowed",
               MOST_DROP * 100, goal, "ratio", said)  # fmt: skip

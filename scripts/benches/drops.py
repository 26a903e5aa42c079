"""How little of the metric is lost, and how well the test rows can tell: int8 files of three networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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

import numpy as np


def data():
    from sklearn.datasets import load_digits

    found = load_digits()
    large = np.kron(found.images / 16, np.ones((4, 4)))  # 8 x 8 to 32 x 32
    order = np.random.default_rng(1).permutation(len(large))
    return {
        "image": np.repeat(large[..., None], 3, axis=-1).astype("float32"), "label": found.target,
        "forth": order, "back": len(order) - 1 - order,
    }


def moved(train, *, seed):
    """Three copies of each image, up to half a digit's pixel away."""
    from sprat import Part

    rng = np.random.default_rng(seed)
    images = np.tile(train.inputs["image"], (3, 1, 1, 1))
    steps = rng.integers(-4, 5, (len(images), 2))
    made = np.stack([np.roll(image, step, (0, 1)) for image, step in zip(images, steps)])
    return Part({"image": made}, np.tile(train.labels, 3))


def model(train, validation, *, seed, epochs=6):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)

    def normed(x, filters, size, stride, relu=True):
        # Means of the last 30 batches or so: with Keras' 0.99 they would still hold what they began with.
        x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, size, stride, "same")(x))
        return layers.ReLU()(x) if relu else x

    x = image = keras.Input((32, 32, 3), name="image")
    x = normed(x, 16, 3, 1)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        inner = normed(normed(x, filters, 3, stride), filters, 3, 1, relu=False)
        skip = x if stride == 1 else layers.Conv2D(filters, 1, stride, "same")(x)
        x = layers.ReLU()(layers.Add()([inner, skip]))
    answer = layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(x))
    net = keras.Model(image, answer)
    falling = keras.optimizers.schedules.CosineDecay(3e-3, epochs * -(-len(train.labels) // 32))
    net.compile(keras.optimizers.AdamW(falling, weight_decay=1e-3), "sparse_categorical_crossentropy")
    net.fit(train.inputs["image"], train.labels, batch_size=32, epochs=epochs, verbose=0)
    return net
'''
RESNET8_RECIPE = """
schema = "sprat.recipe/1"
model = "resnet8"
task = "classification"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[data.split]
method = "time"
by = "forth"
[train]
framework = "keras"
factory = "factory.py"
augment = "moved"
[inputs.image]
[gates]
min_metric = 0.97
"""
CROSSED = ("data.split.by=forth", "data.split.by=back")
"""Two builds over a shuffled order, read from either end: what one is tested on the other learned from, so no row counts twice."""


def measure(folder: Path, settings: Settings, say: Callable[[str], None], *, quick: bool) -> list[Row]:
    """Return a row for each network; a goal only where the test rows are enough to show it."""
    resnet8 = folder / "resnet8"
    resnet8.mkdir()
    (resnet8 / "recipe.toml").write_text(RESNET8_RECIPE)
    (resnet8 / "factory.py").write_text(RESNET8)
    short = ("train.epochs=3", "gates.min_metric=0.3") if quick else ()
    wanted = (
        ("digits", MODELS / "digits", ((*MANY_TEST_ROWS, *short),)),
        ("ResNet-8", resnet8, tuple((*MANY_TEST_ROWS, by, *short) for by in CROSSED[: 1 if quick else 2])),
        ("motion", MODELS / "motion", (short,)),
    )
    found = []
    for name, recipe, builds in wanted:
        made = [
            build(
                recipe, out=folder / f"drop-{recipe.name}-{number}", overrides=(*overrides, *OPEN, INT8), cache=False,
                runner="local", settings=settings, say=say,
            )
            for number, overrides in enumerate(builds)
        ]  # fmt: skip
        found.append(_row(name, made))
    return found


def _row(name: str, made: Sequence[BuildResult]) -> Row:
    """Return Tango's bound of the drop over the test rows of all builds; unlike the bootstrap's it holds where no row changed too."""
    worst = [max(_runtimes(one), key=lambda found: found["lost"] - found["gained"]) for one in made]
    lost, gained, rows = (sum(one[key] for one in worst) for key in ("lost", "gained", "total"))
    bound = paired.interval(lost, gained, rows)[1]
    needed = paired.rows_to_bound(0, 0, rows, MOST_DROP)
    accuracy = sum(one.research_metric * found["total"] for one, found in zip(made, worst, strict=True)) / rows
    said = f"({lost} rows lost, {gained} gained of {rows} in {len(made)} build{'s' if len(made) > 1 else ''}, float accuracy "
    said += f"{accuracy:.4f}; {needed} rows are the least that can show it)"
    goal = "<= 1.0" if rows >= needed else ""
    return Row("compiler", f"bound of the drop, {name} ({made[0].bundles[0].scheme})", bound * 100, "pts", "allowed",
               MOST_DROP * 100, goal, "ratio", said)  # fmt: skip


def _runtimes(made: BuildResult) -> list[dict[str, Any]]:
    """Return what the one bundle of a build did on each runtime."""
    (bundle,) = made.bundles
    return list(bundle.measured["runtimes"].values())

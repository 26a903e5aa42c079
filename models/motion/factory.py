"""A wrist's motion: BasicMotions (Bagnall et al., arXiv 1811.00075), cut into windows, and a 1-D convolution.

Four students stood, walked, ran and played badminton with a watch: 3 axes of acceleration, 3 of rotation, ten readings a
second, ten seconds each. The 80 recordings are read as files out of the `aeon` package, which is not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sprat import Part

STEPS, STRIDE, CHANNELS = 40, 20, 6
"""Windows of four seconds, a new one every two: a device answers two seconds after the motion changed.

The recipe tells the device the same in `[[preprocess.window]]`."""
CLASSES = ("Standing", "Running", "Walking", "Badminton")


def data() -> dict[str, Any]:
    """Return the windows, their class, and the recording that each was cut from."""
    import numpy as np

    windows, labels, recordings = [], [], []
    for number, (series, label) in enumerate(_recordings()):
        for start in range(0, series.shape[0] - STEPS + 1, STRIDE):
            windows.append(series[start : start + STEPS])
            labels.append(CLASSES.index(label))
            recordings.append(number)
    return {
        "window": np.stack(windows).astype("float32"),
        "motion": np.array(labels),
        # Windows of one recording overlap: the split keeps a recording together.
        "recording": np.array(recordings),
    }


def augment(train: Part, *, seed: int) -> Part:
    """Return each window once more, as a watch would give it that sits a little askew and is shaken a little more."""
    import numpy as np

    from sprat import Part

    rng = np.random.default_rng(seed)
    window = train.inputs["window"]
    scale = rng.uniform(0.9, 1.1, (len(window), 1, CHANNELS))
    noise = rng.normal(0, 0.05, window.shape)
    return Part({"window": (window * scale + noise).astype("float32")}, train.labels)


def model(train: Part, validation: Part, *, seed: int, epochs: int = 40, filters: int = 8, rate: float = 5e-3) -> Any:
    """Train the network; readings are scaled inside it, so a device feeds it what the sensor gives."""
    import keras

    keras.utils.set_random_seed(seed)
    scaling = keras.layers.Normalization(axis=-1)
    scaling.adapt(train.inputs["window"])
    network = keras.Sequential(
        [
            keras.Input((STEPS, CHANNELS), name="window"),
            scaling,
            keras.layers.Conv1D(filters, 5, strides=2, activation="relu"),
            keras.layers.Conv1D(2 * filters, 5, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )
    network.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
    network.fit(
        train.inputs["window"], train.labels, batch_size=32, epochs=epochs, verbose=0,
        validation_data=(validation.inputs["window"], validation.labels),
    )  # fmt: skip
    return network


def _recordings() -> list[tuple[Any, str]]:
    """Read the two `.ts` files: channels are parted by colons, readings by commas, the class stands last."""
    import importlib.util
    from pathlib import Path

    import numpy as np

    spec = importlib.util.find_spec("aeon")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the recordings are in the package aeon: pip install --no-deps aeon")
    folder = Path(spec.origin).parent / "datasets" / "data" / "BasicMotions"
    found = []
    for name in ("BasicMotions_TRAIN.ts", "BasicMotions_TEST.ts"):
        for line in (folder / name).read_text("utf-8").splitlines():
            if line and line[0] not in "#@":
                *channels, label = line.split(":")
                found.append((np.array([channel.split(",") for channel in channels], np.float64).T, label.strip()))
    return found

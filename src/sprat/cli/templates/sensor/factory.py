"""Windows of a sensor and a small 1-D convolution. Here: a made-up accelerometer at rest, shaking, or hit.

The data is synthetic: replace `data()` by windows of your own sensor, shape [rows, steps, channels].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sprat import Part

STEPS, CHANNELS, ROWS = 64, 3, 900


def data() -> dict[str, Any]:
    """Return windows of acceleration in g and what happens in each."""
    import numpy as np

    rng = np.random.default_rng(7)
    state = rng.integers(0, 3, ROWS)
    time = np.arange(STEPS)[None, :, None]
    window = rng.normal(0, 0.05, (ROWS, STEPS, CHANNELS)) + np.array([0.0, 0.0, 1.0])
    shaking = np.sin(time * rng.uniform(0.3, 0.9, (ROWS, 1, 1)) + rng.uniform(0, 6.3, (ROWS, 1, CHANNELS)))
    hit = np.exp(-np.abs(time - rng.integers(8, STEPS - 8, (ROWS, 1, 1))) / 2.0) * rng.uniform(
        1, 3, (ROWS, 1, CHANNELS)
    )
    window += (state == 1)[:, None, None] * shaking * 0.6 + (state == 2)[:, None, None] * hit
    return {"window": np.clip(window, -8, 8).astype("float32"), "state": state}


def model(train: Part, validation: Part, *, seed: int, epochs: int = 15, filters: int = 8) -> Any:
    """Train the network; keyword arguments are set under [train] in the recipe."""
    import keras

    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.Input((STEPS, CHANNELS), name="window"),
            keras.layers.Conv1D(filters, 5, strides=2, activation="relu"),
            keras.layers.Conv1D(2 * filters, 5, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    network.compile(optimizer=keras.optimizers.Adam(5e-3), loss="sparse_categorical_crossentropy")
    network.fit(
        train.inputs["window"], train.labels, batch_size=32, epochs=epochs, verbose=0,
        validation_data=(validation.inputs["window"], validation.labels),
    )  # fmt: skip
    return network

"""Images and a small convolutional network. Here: scanned digits (scikit-learn, 1,797 images of 8 x 8 grey levels)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sprat import Part


def data() -> dict[str, Any]:
    """Return the images as the scanner gave them, and the digit that each shows."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"image": digits.images.astype("float32")[..., None], "digit": digits.target}


def model(train: Part, validation: Part, *, seed: int, epochs: int = 30, filters: int = 16, rate: float = 3e-3) -> Any:
    """Train the network; the grey levels are scaled inside it, so a device feeds it what the scanner gives."""
    import keras

    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(2 * filters, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(2 * filters, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(name="features"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    network.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    network.fit(
        train.inputs["image"], train.labels, batch_size=64, epochs=epochs, verbose=0,
        validation_data=(validation.inputs["image"], validation.labels),
    )  # fmt: skip
    return network

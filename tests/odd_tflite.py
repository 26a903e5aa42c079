"""Makes `.tflite` files that TensorFlow writes and no small device can use; a program of its own, as its import is slow.

`python odd_tflite.py FOLDER` writes two.tflite (two signatures) and open.tflite (an open dimension besides the batch).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf


class Two(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, name="x")])
    def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, name="x")])
    def half(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x / 2}

    @tf.function(input_signature=[tf.TensorSpec((1, None), tf.float32, name="x")])
    def long(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 3 * x}


def main(folder: Path) -> None:
    two = Two()
    for name, methods in {"two": ("double", "half"), "open": ("long",)}.items():
        functions = {method: getattr(two, method).get_concrete_function() for method in methods}
        tf.saved_model.save(two, str(folder / name), signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / name), signature_keys=list(methods))
        (folder / f"{name}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

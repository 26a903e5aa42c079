"""Makes the tiny models of test_runtimes.py; a program of its own, so that TensorFlow's import stays out of the tests.

`python runtime_models.py FOLDER` writes float.tflite, int8.tflite, numbers.onnx and texts.onnx, and data.npz with their inputs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def tflite(folder: Path, rows: np.ndarray) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(1)

    class Tiny(tf.Module):
        def __init__(self) -> None:
            self.first = tf.constant(rng.normal(0, 1, (4, 8)).astype(np.float32))
            self.second = tf.constant(rng.normal(0, 1, (8, 3)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, name="features")])
        def __call__(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": tf.nn.softmax(tf.nn.relu(features @ self.first) @ self.second)}

    tiny = Tiny()
    tf.saved_model.save(tiny, str(folder / "saved"), signatures=tiny.__call__.get_concrete_function())

    def converter() -> tf.lite.TFLiteConverter:
        return tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))

    (folder / "float.tflite").write_bytes(converter().convert())
    whole = converter()
    whole.optimizations = [tf.lite.Optimize.DEFAULT]
    whole.representative_dataset = lambda: ([row[None]] for row in rows)
    whole.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    whole.inference_input_type = whole.inference_output_type = tf.int8
    # tflite-runtime 2.14 does not know the version of the dense kernel that per-channel weights need.
    whole._experimental_disable_per_channel_quantization_for_dense_layers = True
    (folder / "int8.tflite").write_bytes(whole.convert())


def onnx(folder: Path, rows: np.ndarray, labels: np.ndarray) -> None:
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.array(["low", "middle", "high"])
    models = {
        "numbers": make_pipeline(StandardScaler(), RandomForestClassifier(5, max_depth=3, random_state=0)).fit(
            rows, labels
        ),
        "texts": make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, names[labels]),
    }
    for name, model in models.items():
        converted = to_onnx(model, rows[:1].astype(np.float64), options={"zipmap": False})
        (folder / f"{name}.onnx").write_bytes(converted.SerializeToString())


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 4, (60, 4)).astype(np.float32)
    labels = np.digitize(rows.sum(axis=1), [6.5, 9.5])
    np.savez(folder / "data.npz", rows=rows, labels=labels)
    onnx(folder, rows, labels)
    tflite(folder, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

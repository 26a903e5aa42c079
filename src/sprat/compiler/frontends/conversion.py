"""TensorFlow's converter over the exported model, as every Keras scheme uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import SAVED_MODEL, UNROLLED, Work


def converter(work: Work, *, unrolled: bool = False) -> Any:
    """Return a fresh converter; `unrolled` takes the export whose recurrent layers are written out, where there is one.

    int8 and int16x8 conversion of a recurrent layer's loop ends the process with a segmentation fault; written out
    step by step it converts, and is bigger.
    """
    source = UNROLLED if unrolled and is_unrolled(work) else SAVED_MODEL
    # from_saved_model alone: from_concrete_functions on Keras 3 gives silent NaN.
    converter = tf.lite.TFLiteConverter.from_saved_model(str(work.path / source))
    # Per-channel dense layers need FULLY_CONNECTED v12, which tflite-runtime 2.14 does not know.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return converter


def is_unrolled(work: Work) -> bool:
    """Tell whether there is an export with recurrent layers written out."""
    return (work.path / UNROLLED).exists()


def calibrated(work: Work, parts: Mapping[str, Part], ops: Any) -> Any:
    """Return a converter that quantizes weights and activations by the calibration rows into the given set of ops."""
    made = converter(work, unrolled=True)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    made.representative_dataset = representative(parts)
    made.target_spec.supported_ops = [ops]
    return made


def options(work: Work, **chosen: Any) -> dict[str, Any]:
    """Return what the manifest says of a calibrated conversion."""
    unrolled = {"unrolled": True} if is_unrolled(work) else {}
    return {"optimizations": "default", "per_channel_dense": False, **unrolled, **chosen}


def representative(parts: Mapping[str, Part]) -> Callable[[], Any]:
    """Return the generator of calibration rows that the converter asks for."""

    def rows() -> Any:
        inputs = parts["calibration"].inputs
        for i in range(len(parts["calibration"].labels)):
            yield {name: np.asarray(array[i : i + 1], np.float32) for name, array in inputs.items()}

    return rows

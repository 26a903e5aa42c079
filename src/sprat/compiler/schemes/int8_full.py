"""int8 from input to output: calibrated, and the device quantizes its readings itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from sprat.compiler.factory import Part
from sprat.compiler.frontends import keras
from sprat.compiler.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with int8 kernels and int8 input and output tensors."""
    converter = keras.converter(work)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = keras.representative(parts())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    options = {
        "optimizations": "default", "supported_ops": "int8", "per_channel_dense": False, "inference_io": "int8",
    }  # fmt: skip
    return keras.lowered(converter.convert(), options)

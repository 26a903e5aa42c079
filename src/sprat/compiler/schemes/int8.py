"""int8 inside, float input and output: calibrated on the calibration rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from sprat.compiler.factory import Part
from sprat.compiler.frontends import keras
from sprat.compiler.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with int8 kernels only, quantizing and dequantizing at the edges."""
    converter = keras.converter(work)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = keras.representative(parts())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    options = {"optimizations": "default", "supported_ops": "int8", "per_channel_dense": False}
    return keras.lowered(converter.convert(), options)

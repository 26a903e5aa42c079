"""int8 from input to output: calibrated, and the device quantizes its readings itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from sprat.compiler.frontends import conversion, flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with int8 kernels and int8 input and output tensors."""
    converter = conversion.calibrated(work, parts(), tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    options = conversion.options(work, supported_ops="int8", inference_io="int8")
    return flatbuffer.lowered(converter.convert(), options)

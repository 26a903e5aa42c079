"""int8 inside, float input and output: calibrated on the calibration rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from sprat.compiler.frontends import conversion, flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with int8 kernels only, quantizing and dequantizing at the edges."""
    converter = conversion.calibrated(work, parts(), tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
    return flatbuffer.lowered(converter.convert(), conversion.options(work, supported_ops="int8"))

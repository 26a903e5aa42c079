"""int8 weights, int16 activations, float input and output: nearly float's answers in few bytes, and slow on most CPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from sprat.compiler.frontends import conversion, flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with int16 activations only: an operator that has no such kernel ends the conversion."""
    ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter = conversion.calibrated(work, parts(), ops)
    return flatbuffer.lowered(converter.convert(), conversion.options(work, supported_ops="int16x8"))

"""Weights as int8, activations quantized while the model runs; needs no calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from sprat.compiler.frontends import conversion, flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with the default optimisation and no calibration rows."""
    del parts
    converter = conversion.converter(work)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return flatbuffer.lowered(converter.convert(), {"optimizations": "default", "per_channel_dense": False})

"""Weights as float16: half the bytes; runtimes widen them to float32 when they load."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from sprat.compiler.frontends import conversion, flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with float16 as the supported type."""
    del parts
    converter = conversion.converter(work)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return flatbuffer.lowered(converter.convert(), {"optimizations": "default", "supported_types": "float16"})

"""A given float `.tflite` with int8 weights, activations quantized while it runs; needs no calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sprat.compiler.frontends import given_tflite
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Quantize the weights channel by channel: one runtime's kernels may read that as another's do not."""
    del parts
    return given_tflite.quantize(work, "dynamic_wi8_afp32", None)

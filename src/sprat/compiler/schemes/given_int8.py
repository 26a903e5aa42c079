"""A given float `.tflite` with int8 weights and activations, calibrated on the calibration rows; float input and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sprat.compiler.frontends import given_tflite
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Quantize by litert-quantizer's static recipe."""
    return given_tflite.quantize(work, "static_wi8_ai8", parts())

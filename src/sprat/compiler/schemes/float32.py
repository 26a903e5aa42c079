"""Plain conversion: float32 weights and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sprat.compiler.frontends import conversion, flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert without any optimisation."""
    del parts
    return flatbuffer.lowered(conversion.converter(work).convert(), {})

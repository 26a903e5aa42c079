"""A given .tflite as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sprat.compiler.frontends import flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Take the bytes and read what they say of themselves."""
    del parts
    return flatbuffer.lowered(Path(work.given).read_bytes(), {})

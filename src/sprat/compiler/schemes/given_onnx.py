"""A given .onnx as it is, but for what a device could not run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sprat.compiler.frontends import onnx
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Take the bytes and read what they say of themselves."""
    given = onnx.given(work, parts())
    return onnx.lowered(given.dump(Path(work.given)), given.options)

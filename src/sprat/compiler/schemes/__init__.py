"""Ways of lowering a model to an artifact: one file per scheme, each with `lower(work, parts) -> Lowered`.

The order of the table is from the simplest scheme on: on a tie the simpler one wins.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

from sprat.compiler.factory import Part
from sprat.compiler.work import Lowered, Work
from sprat_device.contract.manifest import Format


class Scheme(Protocol):
    """What a scheme's module offers; it asks for the data only if it calibrates."""

    def lower(self, work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
        """Make the artifact."""
        ...


@dataclass(frozen=True, slots=True)
class SchemeFacts:
    """What the search must know of a scheme before anything is converted."""

    module: str
    frameworks: frozenset[str]
    format: Format
    quantized: bool
    about: str


SCHEMES: Final[Mapping[str, SchemeFacts]] = {
    "given": SchemeFacts("given", frozenset({"tflite"}), Format.TFLITE, False, "the given file as it is"),
    "given-dynamic": SchemeFacts(
        "given_dynamic", frozenset({"tflite"}), Format.TFLITE, True, "a given float file with int8 weights"
    ),
    "given-int8": SchemeFacts(
        "given_int8", frozenset({"tflite"}), Format.TFLITE, True, "a given float file with int8 inside"
    ),
    "given-onnx": SchemeFacts("given_onnx", frozenset({"onnx"}), Format.ONNX, False, "the given file as it is"),
    "float64-onnx": SchemeFacts(
        "float64_onnx", frozenset({"sklearn"}), Format.ONNX, False, "the whole pipeline, float64 in"
    ),
    "float32": SchemeFacts("float32", frozenset({"keras"}), Format.TFLITE, False, "float weights and activations"),
    "float16": SchemeFacts("float16", frozenset({"keras"}), Format.TFLITE, True, "float16 weights"),
    "dynamic": SchemeFacts(
        "dynamic", frozenset({"keras"}), Format.TFLITE, True, "int8 weights, activations quantized while running"
    ),
    "int8": SchemeFacts("int8", frozenset({"keras"}), Format.TFLITE, True, "int8 inside, float input and output"),
    "int8-full": SchemeFacts("int8_full", frozenset({"keras"}), Format.TFLITE, True, "int8 from input to output"),
    "int16x8": SchemeFacts(
        "int16x8", frozenset({"keras"}), Format.TFLITE, True, "int8 weights, int16 activations, float input and output"
    ),
    "int8-mixed": SchemeFacts(
        "int8_mixed", frozenset({"keras"}), Format.TFLITE, True, "int8 but for the layers that lose most by it"
    ),
    "float32-onnx": SchemeFacts("float32_onnx", frozenset({"keras"}), Format.ONNX, False, "float32 as ONNX"),
}


def load(name: str) -> Scheme:
    """Import one scheme."""
    return cast("Scheme", importlib.import_module(f"sprat.compiler.schemes.{SCHEMES[name].module}"))

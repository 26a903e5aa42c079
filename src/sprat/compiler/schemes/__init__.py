"""Ways of lowering a model to an artifact: one file per scheme, each with `lower(work, parts) -> Lowered`.

The order of the table is from the simplest scheme on: on a tie the simpler one wins.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, Work
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
    """Its answers may differ a little from the research model's, and it must be smaller than what is exact."""
    about: str
    default: bool = True
    """Tried where the recipe names no schemes."""
    only_named: frozenset[str] = frozenset()
    """Frameworks for which it is tried only where the recipe names it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the module's `scheme(**settings)` is asked for where one file holds a family of schemes."""

    def tried(self, framework: str) -> bool:
        """Tell whether it is tried unasked."""
        return self.default and framework not in self.only_named


_GRAPHS: Final = frozenset({"onnx", "sklearn", "keras"})
"""What the ONNX schemes start from: a graph in a file, or one that the model was converted to."""
_KERAS: Final = frozenset({"keras"})
"""Each of them converts the model once more, and TensorFlow Lite has its own quantized schemes."""


def _qdq(calibrator: str, activations: str, *, per_channel: bool) -> tuple[str, SchemeFacts]:
    name = f"qdq-{calibrator.lower()}-{'s8' if activations == 'QInt8' else 'u8'}{'-pc' if per_channel else ''}"
    about = f"8 bits, ranges by {calibrator}, {activations} activations, scales per {'channel' if per_channel else 'tensor'}"
    # Three of twelve are tried unasked: the fastest, the most careful one, and the one that outliers hurt least.
    default = (calibrator, activations, per_channel) in _QDQ_TRIED
    settings = {"calibrator": calibrator, "activations": activations, "per_channel": per_channel}
    return name, SchemeFacts("onnx_qdq", _GRAPHS, Format.ONNX, True, about, default, _KERAS, settings)


_QDQ_TRIED: Final = {("MinMax", "QUInt8", False), ("MinMax", "QUInt8", True), ("Percentile", "QUInt8", True)}
_ONNX: Final[Mapping[str, SchemeFacts]] = {
    "float32-cast": SchemeFacts("onnx_float32", _GRAPHS - _KERAS, Format.ONNX, False, "a float64 graph in float32"),
    "float16-onnx": SchemeFacts(
        "onnx_float16", _GRAPHS, Format.ONNX, True, "float16 weights, widened at load", only_named=_KERAS
    ),
    "dynamic-onnx": SchemeFacts(
        "onnx_dynamic", _GRAPHS, Format.ONNX, True, "8-bit weights, activations quantized while running",
        only_named=_KERAS, settings={"weights": "QUInt8", "per_channel": False},
    ),
    "dynamic-onnx-s8-pc": SchemeFacts(
        "onnx_dynamic", _GRAPHS, Format.ONNX, True, "as dynamic-onnx, signed, a scale per channel", False,
        settings={"weights": "QInt8", "per_channel": True},
    ),
    "trees-half": SchemeFacts(
        "trees", frozenset({"sklearn"}), Format.ONNX, True, "the first half of an ensemble's trees",
        settings={"what": "count", "share": 0.5},
    ),
    "trees-quarter": SchemeFacts(
        "trees", frozenset({"sklearn"}), Format.ONNX, True, "the first quarter of an ensemble's trees",
        settings={"what": "count", "share": 0.25},
    ),
    "trees-shallow": SchemeFacts(
        "trees", frozenset({"sklearn"}), Format.ONNX, True, "a forest's trees, cut at half their depth", False,
        settings={"what": "depth", "share": 0.5},
    ),
    **dict(
        _qdq(calibrator, activations, per_channel=per_channel)
        for calibrator in ("MinMax", "Percentile", "Entropy")
        for activations in ("QUInt8", "QInt8")
        for per_channel in (False, True)
    ),
    "qdq-mixed": SchemeFacts(
        "onnx_qdq_mixed", _GRAPHS, Format.ONNX, True, "8 bits as qdq-minmax-u8-pc, but for the layers that lose most by it",
        only_named=_KERAS,
    ),
}  # fmt: skip

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
    **_ONNX,
}


def load(name: str) -> Scheme:
    """Import one scheme."""
    facts = SCHEMES[name]
    module = importlib.import_module(f"sprat.compiler.schemes.{facts.module}")
    return cast("Scheme", module.scheme(**facts.settings) if facts.settings else module)

"""Weights as 8-bit integers, activations quantized while the model runs; needs no calibration rows.

Unsigned weights: ONNX Runtime has no ConvInteger for signed ones, and magika runs at half the speed with them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import onnx as onnx_ir
from onnxruntime.quantization import QuantType, quantize_dynamic

from sprat.compiler.frontends import onnx
from sprat.compiler.schemes import onnx_source
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import Lowered, Work
from sprat.errors import GateFailed

_OPSET: Final = 13


@dataclass(frozen=True, slots=True)
class Dynamic:
    """One way of storing the weights."""

    weights: str
    per_channel: bool

    def lower(self, work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
        """Quantize the weights; what comes out as it went in is no candidate."""
        source = onnx_source.float32_graph(work, parts)
        model = onnx_source.upgraded(source.model, _OPSET)
        onnx_source.require_weights(model)
        onnx_source.name_nodes(model)
        before = onnx_source.ops(model)
        with tempfile.TemporaryDirectory(prefix="sprat-dynamic-") as folder:
            plain, made = Path(folder) / "plain.onnx", Path(folder) / "made.onnx"
            onnx_source.prepare(model, plain)
            quantize_dynamic(
                plain, made, per_channel=self.per_channel, weight_type=QuantType.from_string(self.weights),
                reduce_range=self.weights == "QInt8",
            )  # fmt: skip
            quantized = onnx_ir.load(made)
        require_change(quantized, before)
        options = {
            **source.options,
            "weights": self.weights, "per_channel": self.per_channel, "reduce_range": self.weights == "QInt8",
            "onnxruntime": version("onnxruntime"),
        }  # fmt: skip
        return onnx.lowered(onnx_source.dump(quantized), options)


def scheme(*, weights: str, per_channel: bool) -> Dynamic:
    """Return one member of the family."""
    return Dynamic(weights, per_channel)


def require_change(quantized: object, before: set[str]) -> None:
    """Raise GateFailed `no-op` where quantization found nothing to quantize."""
    if not onnx_source.ops(quantized) - before & onnx_source.ROUNDED:
        found = ", ".join(sorted(before)[:6])
        raise GateFailed(GateCode.NO_OP, f"nothing was quantized: the file came out as it went in, with {found}")

"""Static quantization with QuantizeLinear and DequantizeLinear around each operator: a calibrator, a type, a grain.

Ranges come from the calibration rows: their extremes (MinMax), what all but 0.001 % of the values lie in (Percentile),
or what keeps most information (Entropy, after S. Migacz, 8-bit Inference with TensorRT, 2017). Signed weights are kept
to 7 bits, because CPUs without VNNI add products of 8 bits in 16 and saturate. Softmax stays in float: as 8-bit
integers its scores would come in steps of 1/256.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx as onnx_ir
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

from sprat.compiler.frontends import onnx, onnx_shapes
from sprat.compiler.schemes import onnx_source
from sprat.compiler.schemes.onnx_dynamic import require_change
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import Lowered, Work
from sprat.errors import GateFailed

_OPSET: Final = 13
"""From here on DequantizeLinear knows an axis."""
_FEWEST_ROWS: Final = 2
_MOST_ROWS: Final = 256
"""Calibrators keep every activation of every row."""
_BINS: Final = 1024
_LEVELS: Final = 128
_KEPT_FLOAT: Final = frozenset({"Softmax", "LogSoftmax"})


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Hands calibration rows over one by one."""

    def __init__(self, rows: list[dict[str, npt.NDArray[Any]]]) -> None:
        self._left = iter(rows)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        return next(self._left, None)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A float graph in a file as the quantizer wants it, and the rows that its ranges come from."""

    plain: Path
    rows: list[dict[str, npt.NDArray[Any]]]
    kept: tuple[str, ...]
    """Nodes that are never quantized."""
    before: frozenset[str]
    options: Mapping[str, Any]


def prepared(work: Work, parts: Callable[[], Mapping[str, Part]], folder: Path) -> Prepared:
    """Write the model's own graph into a folder, raised and folded; a graph without weights is no candidate."""
    source = onnx_source.float32_graph(work, parts)
    model = onnx_source.upgraded(source.model, _OPSET)
    onnx_source.require_weights(model)
    onnx_source.name_nodes(model)
    rows = _calibration(model, parts()["calibration"])
    plain = folder / "plain.onnx"
    onnx_source.prepare(model, plain)
    kept = tuple(node.name for node in onnx_ir.load(plain).graph.node if node.op_type in _KEPT_FLOAT)
    return Prepared(plain, rows, kept, frozenset(onnx_source.ops(model)), source.options)


@dataclass(frozen=True, slots=True)
class StaticQdq:
    """One member of the grid."""

    calibrator: str
    activations: str
    per_channel: bool

    @property
    def weights(self) -> str:
        """Return the weights' type: scales per channel go with signed weights only."""
        return "QInt8" if self.per_channel or self.activations == "QInt8" else "QUInt8"

    def lower(self, work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
        """Calibrate and quantize; what comes out as it went in is no candidate."""
        with tempfile.TemporaryDirectory(prefix="sprat-qdq-") as folder:
            source = prepared(work, parts, Path(folder))
            quantized = self.quantized(source)
        require_change(quantized, set(source.before))
        return onnx.lowered(onnx_source.dump(quantized), self.options(source))

    def quantized(self, source: Prepared, *, only: Sequence[str] = (), left: Sequence[str] = ()) -> Any:
        """Return the model with these nodes alone quantized (none named: all), or with these left float."""
        ranges = source.plain.with_name("ranges.json")  # found once, whatever is quantized by them
        if self.calibrator == "Entropy" and not ranges.exists():
            _write_ranges(source, ranges)
        made = source.plain.with_name("made.onnx")
        quantize_static(
            source.plain, made, _Rows(source.rows), calibration_cache_path=ranges, quant_format=QuantFormat.QDQ,
            per_channel=self.per_channel, reduce_range=self.weights == "QInt8",
            activation_type=QuantType.from_string(self.activations), weight_type=QuantType.from_string(self.weights),
            nodes_to_quantize=list(only), nodes_to_exclude=[*source.kept, *left],
            calibrate_method=CalibrationMethod[self.calibrator],
            extra_options={"ActivationSymmetric": self.activations == "QInt8"},
        )  # fmt: skip
        return onnx_ir.load(made)

    def options(self, source: Prepared) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {
            **source.options,
            "calibrator": self.calibrator, "calibration_rows": len(source.rows), "activations": self.activations,
            "symmetric": self.activations == "QInt8", "weights": self.weights, "per_channel": self.per_channel,
            "reduce_range": self.weights == "QInt8", "kept_float": list(source.kept), "onnxruntime": version("onnxruntime"),
        }  # fmt: skip


def scheme(*, calibrator: str, activations: str, per_channel: bool) -> StaticQdq:
    """Return one member of the grid."""
    return StaticQdq(calibrator, activations, per_channel)


def _write_ranges(source: Prepared, path: Path) -> None:
    """Write the ranges by entropy: with the 128 bins that `quantize_static` takes there is one range to choose, MinMax's."""
    calibrator = create_calibrator(
        source.plain, augmented_model_path=str(source.plain.with_name("augmented.onnx")),
        calibrate_method=CalibrationMethod.Entropy, extra_options={"num_bins": _BINS, "num_quantized_bins": _LEVELS},
    )  # fmt: skip
    calibrator.collect_data(_Rows(source.rows))
    save_tensors_data(calibrator.compute_data(), path)


def _calibration(model: Any, part: Part) -> list[dict[str, npt.NDArray[Any]]]:
    """Return rows spread evenly over the calibration part, in the types that the graph takes; of NaN no range is found."""
    whole = np.flatnonzero(np.all([_known(array) for array in part.inputs.values()], axis=0))
    count = len(whole)
    if count < _FEWEST_ROWS:
        missing = " without a missing value" if count < len(part.labels) else ""
        raise GateFailed(
            GateCode.CONVERSION_FAILED,
            f"calibration: {count} row{missing}, a range needs {_FEWEST_ROWS} or more; give data.split.calibration a larger share",
        )
    chosen = whole[np.linspace(0, count - 1, min(count, _MOST_ROWS)).astype(np.int64)]
    return [
        onnx_shapes.fed({name: array[row : row + 1] for name, array in part.inputs.items()}, model) for row in chosen
    ]


def _known(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which rows hold no NaN."""
    if array.dtype.kind != "f":
        return np.ones(len(array), np.bool_)
    known: npt.NDArray[np.bool_] = ~np.isnan(array.reshape(len(array), -1)).any(axis=1)
    return known

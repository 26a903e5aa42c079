"""Static quantization but for the layers that lose most by it, where quantizing all of them changes answers.

Each layer is quantized alone, and how far the answers move by it on the calibration rows is its error. The worst are left
float, twice as many in each round, until the answers are close to the float graph's. A layer is what stands from one
operator with weights to the next; what stands before the first, a scaler often, is one too: one scale for features of very
different size leaves nothing of the small ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx as onnx_ir
import onnxruntime

from sprat.compiler.frontends import onnx
from sprat.compiler.schemes import onnx_source
from sprat.compiler.schemes.onnx_dynamic import require_change
from sprat.compiler.schemes.onnx_qdq import Prepared, StaticQdq, prepared
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, NotNeeded, Work

Array = npt.NDArray[Any]
Layers = Sequence[Sequence[str]]

CLOSE: Final = 0.02
"""Mean difference of the answers that counts as close, as a share of their spread over the rows."""
_ROWS: Final = 64
_MOST_LAYERS: Final = 32
"""Of a deeper graph neighbours are judged together, since each costs a quantization."""
_WEIGHTED: Final = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
_HOW: Final = StaticQdq("MinMax", "QUInt8", per_channel=True)


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Quantize all but the worst layers; NotNeeded where quantizing all of them is already close."""
    with tempfile.TemporaryDirectory(prefix="sprat-qdq-") as folder:
        source = prepared(work, parts, Path(folder))
        plain = onnx_ir.load(source.plain)
        expected = _answers(plain, source)
        spread = float(np.mean(np.std(expected, axis=0))) or 1.0

        def distance(model: Any) -> float:
            return float(np.mean(np.abs(_answers(model, source) - expected))) / spread

        off = distance(_HOW.quantized(source))
        if off <= CLOSE:
            raise NotNeeded(
                f"all of it in 8 bits is close to float: its answers differ by {off:.4f} of their spread, {CLOSE:g} is close"
            )
        layers = _layers(plain.graph)
        errors = [distance(_HOW.quantized(source, only=names)) for names in layers]
        made, left = _mixed(source, layers, errors, distance=distance, whole=off)
    require_change(made, set(source.before))
    return onnx.lowered(onnx_source.dump(made), {**_HOW.options(source), "float_layers": left})


def _mixed(
    source: Prepared, layers: Layers, errors: Sequence[float], *, distance: Callable[[Any], float], whole: float
) -> tuple[Any, list[str]]:
    """Leave ever more layers float; the first close model is it, else the best that halves the difference."""
    worst = sorted(range(len(layers)), key=lambda place: (-errors[place], place))
    best, best_off, chosen = None, whole / 2, list[str]()
    count = 1
    while count <= len(layers) // 2:
        left = [name for place in sorted(worst[:count]) for name in layers[place]]
        made = _HOW.quantized(source, left=left)
        off = distance(made)
        if off < best_off:
            best, best_off, chosen = made, off, left
        if off <= CLOSE:
            break
        count *= 2
    if best is None:
        raise ValueError(
            f"no few layers are to blame: answers in 8 bits differ by {whole:.4f} of their spread, {CLOSE:g} is close"
        )
    return best, chosen


def _layers(graph: Any) -> list[list[str]]:
    """Return the names of the nodes of each layer, neighbours joined where there are too many of them."""
    fixed = {tensor.name for tensor in graph.initializer}
    layers: list[list[str]] = [[]]
    for node in graph.node:
        if node.op_type in _WEIGHTED and fixed & set(node.input):
            layers.append([])
        layers[-1].append(node.name)
    found = [names for names in layers if names]
    together = -(-len(found) // _MOST_LAYERS)
    return [
        [name for names in found[start : start + together] for name in names]
        for start in range(0, len(found), together)
    ]


def _answers(model: Any, source: Prepared) -> Array:
    """Return the answers of a model to the calibration rows [n, width]."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        onnx_source.dump(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
    found = [session.run(None, row) for row in source.rows[:_ROWS]]
    return np.stack([np.concatenate([np.asarray(one, np.float64).ravel() for one in row]) for row in found])

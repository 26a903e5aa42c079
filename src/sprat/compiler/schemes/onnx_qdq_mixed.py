"""Static quantization of some layers alone, where quantizing all of the graph changes answers.

First whatever has no weights stays float (normalizations, activations of several operators): it makes the file no bigger.
Then the layers to blame: each operator with weights is quantized alone, and how far the answers move by it on the
calibration rows is its error. The worst are left float, twice as many in each round, until the answers are close to the
float graph's.
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
        expected = _answers(plain, source, work)
        spread = float(np.mean(np.std(expected, axis=0))) or 1.0

        def distance(model: Any) -> float:
            return float(np.mean(np.abs(_answers(model, source, work) - expected))) / spread

        off = distance(_HOW.quantized(source))
        if off <= CLOSE:
            raise NotNeeded(
                f"all of it in 8 bits is close to float: its answers differ by {off:.4f} of their spread, {CLOSE:g} is close"
            )
        rest, layers = _parted(plain.graph)
        made, left = _mixed(source, rest, layers, distance=distance, whole=off)
    require_change(made, set(source.before))
    options = {**_HOW.options(source), "quantized": "operators with weights", "float_layers": left}
    return onnx.lowered(onnx_source.dump(made), options)


def _mixed(
    source: Prepared, rest: Sequence[str], layers: Layers, *, distance: Callable[[Any], float], whole: float
) -> tuple[Any, list[str]]:
    """Leave ever more layers float; the first close model is it, else the best that halves the difference."""
    best, best_off, chosen, worst = None, whole / 2, list[str](), list[int]()
    for count in _counts(len(layers)):
        if count and not worst:  # only now: each of them costs a quantization
            errors = [distance(_HOW.quantized(source, only=names)) for names in layers]
            worst = sorted(range(len(layers)), key=lambda place: (-errors[place], place))
        left = [name for place in sorted(worst[:count]) for name in layers[place]]
        made = _HOW.quantized(source, left=[*rest, *left])
        off = distance(made)
        if off < best_off:
            best, best_off, chosen = made, off, left
        if off <= CLOSE:
            break
    if best is None:
        raise ValueError(
            f"no few layers are to blame: answers in 8 bits differ by {whole:.4f} of their spread, {CLOSE:g} is close"
        )
    return best, chosen


def _counts(layers: int) -> list[int]:
    """Return 0, 1, 2, 4, ... up to half of the layers: with more of them float little is left of 8 bits."""
    return [0, *(2**power for power in range(layers.bit_length()) if 2**power <= layers // 2)]


def _parted(graph: Any) -> tuple[list[str], list[list[str]]]:
    """Return the names of the nodes without weights, and of those with, neighbours joined where there are too many."""
    fixed = {tensor.name for tensor in graph.initializer}
    weighted = [node.name for node in graph.node if node.op_type in _WEIGHTED and fixed & set(node.input)]
    rest = [node.name for node in graph.node if node.name not in set(weighted)]
    together = -(-len(weighted) // _MOST_LAYERS)
    return rest, [weighted[start : start + together] for start in range(0, len(weighted), together)]


def _answers(model: Any, source: Prepared, work: Work) -> Array:
    """Return the answers of a model to the calibration rows [n, width], an embedding left out."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        onnx_source.dump(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in session.get_outputs() if one.name != work.embedding]
    found = [session.run(names, row) for row in source.rows[:_ROWS]]
    return np.stack([np.concatenate([np.asarray(one, np.float64).ravel() for one in row]) for row in found])

"""int8 but for the layers that lose most by it, where whole int8 changes answers.

First what stands before the first weights, a Normalization: one scale for all features leaves nothing of the small ones.
Then the layers with the largest error by TensorFlow's quantization debugger: int8 against float on the calibration rows,
as the root of its mean square in quantization steps (rounding alone costs 1/sqrt(12)). Twice as many are left float in
each round, until the answers are close to the float artifact's.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sprat.compiler.frontends import conversion, flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, NotNeeded, Work

Array = npt.NDArray[Any]
CLOSE: Final = 0.02
"""Mean difference of the answers that counts as close, as a share of their spread over the rows."""
_ROWS: Final = 100
_ROUNDING: Final = 1 / math.sqrt(12)
_ELEMENTWISE: Final = frozenset({"SUB", "ADD", "MUL", "DIV"})


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with ever more of the worst layers float; NotNeeded where whole int8 is already close."""
    given = parts()
    inputs = {name: np.asarray(array[:_ROWS], np.float32) for name, array in given["calibration"].inputs.items()}
    research = _answers(conversion.converter(work, unrolled=True).convert(), inputs, work)
    spread = float(np.mean(np.std(research, axis=0))) or 1.0

    def distance(artifact: bytes) -> float:
        return float(np.mean(np.abs(_answers(artifact, inputs, work) - research))) / spread

    ops = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
    whole = conversion.calibrated(work, given, ops).convert()
    off = distance(whole)
    if off <= CLOSE:
        raise NotNeeded(
            f"whole int8 is close to float: its answers differ by {off:.4f} of their spread, {CLOSE:g} is close"
        )
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=conversion.calibrated(work, given, ops), debug_dataset=_lists(whole, inputs)
    )
    debugger.run()
    return _mixed(work, debugger, distance=distance, whole=off)


def _mixed(work: Work, debugger: Any, *, distance: Callable[[bytes], float], whole: float) -> Lowered:
    """Leave ever more layers float; the first close artifact is it, else the best that halves the difference."""
    table = _statistics(debugger)
    first, worst = _before_weights(table), _worst(table)
    best, best_off, chosen = b"", whole / 2, worst[:0]
    for count in _counts(len(table)):
        left = list(dict.fromkeys([*first, *worst[:count]]))
        if not left:
            continue
        debugger.options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=left)
        artifact = debugger.get_nondebug_quantized_model()
        off = distance(artifact)
        if off < best_off:
            best, best_off, chosen = artifact, off, left
        if off <= CLOSE or count >= len(worst):
            break
    if not best:
        raise ValueError(
            f"no few layers are to blame: int8 answers differ by {whole:.4f} of their spread, {CLOSE:g} is close"
        )
    return flatbuffer.lowered(best, conversion.options(work, supported_ops="int8", float_layers=chosen))


def _counts(layers: int) -> list[int]:
    """Return 0, 1, 2, 4, ... up to half of the layers: with more of them float little is left of int8."""
    return [0, *(2**power for power in range(layers.bit_length()) if 2**power <= layers // 2)]


def _statistics(debugger: Any) -> list[dict[str, str]]:
    """Return the debugger's table: a row for each layer, in the order of the graph."""
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    table.seek(0)
    return list(csv.DictReader(table))


def _before_weights(table: Sequence[Mapping[str, str]]) -> list[str]:
    return [row["tensor_name"] for row in itertools.takewhile(lambda row: row["op_name"] in _ELEMENTWISE, table)]


def _worst(table: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the tensors that lose more than rounding does, the worst first."""
    errors = {
        row["tensor_name"]: math.sqrt(float(row["mean_squared_error"])) / float(row["scale"])
        for row in table
        if float(row["scale"]) > 0
    }
    return [name for name in sorted(errors, key=lambda one: (-errors[one], one)) if errors[name] > _ROUNDING]


def _answers(artifact: bytes, inputs: Mapping[str, Array], work: Work) -> Array:
    """Return the answers of an artifact with float input and output to the rows [n, width]."""
    return flatbuffer.run(flatbuffer.open_file(artifact), inputs, work.answer, beside=work.embedding)


def _lists(artifact: bytes, inputs: Mapping[str, Array]) -> Callable[[], Any]:
    """Return the rows as the debugger takes them: lists in the order of the artifact's inputs."""
    interpreter = flatbuffer.open_file(artifact)
    names, _ = flatbuffer.places(interpreter)
    order = [names[detail["index"]] for detail in interpreter.get_input_details()]
    count = len(next(iter(inputs.values())))
    return lambda: ([inputs[name][row : row + 1] for name in order] for row in range(count))

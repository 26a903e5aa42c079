"""int8 but for the layers that lose most by it, where whole int8 changes answers.

Each layer's error is that of TensorFlow's quantization debugger: int8 against float on the calibration rows, as the root
of its mean square in quantization steps (1/sqrt(12) is what rounding alone costs). The worst are left float, twice as many in each round,
until the answers are close to the float artifact's.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sprat.compiler.factory import Part
from sprat.compiler.frontends import conversion, flatbuffer
from sprat.compiler.work import Lowered, NotNeeded, Work

Array = npt.NDArray[Any]
CLOSE: Final = 0.02
"""Mean difference of the answers that counts as close, as a share of their spread over the rows."""
_ROWS: Final = 100
_ROUNDING: Final = 1 / math.sqrt(12)


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with ever more of the worst layers float; NotNeeded where whole int8 is already close."""
    given = parts()
    inputs = {name: np.asarray(array[:_ROWS], np.float32) for name, array in given["calibration"].inputs.items()}
    research = _answers(conversion.converter(work, unrolled=True).convert(), inputs)
    spread = float(np.mean(np.std(research, axis=0))) or 1.0

    def distance(artifact: bytes) -> float:
        return float(np.mean(np.abs(_answers(artifact, inputs) - research))) / spread

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
    return _mixed(work, debugger, _worst(debugger), distance=distance, whole=off)


def _mixed(
    work: Work, debugger: Any, worst: Sequence[str], *, distance: Callable[[bytes], float], whole: float
) -> Lowered:
    """Leave 1, 2, 4, ... of the worst layers float; the first close one is it, else the best that halves the difference."""
    best, best_off, chosen = b"", whole / 2, worst[:0]
    for count in _counts(len(worst)):
        left = list(worst[:count])
        debugger.options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=left)
        artifact = debugger.get_nondebug_quantized_model()
        off = distance(artifact)
        if off < best_off:
            best, best_off, chosen = artifact, off, left
        if off <= CLOSE:
            break
    if not best:
        raise ValueError(
            f"no few layers are to blame: int8 answers differ by {whole:.4f} of their spread, {CLOSE:g} is close"
        )
    return flatbuffer.lowered(best, conversion.options(work, supported_ops="int8", float_layers=list(chosen)))


def _counts(layers: int) -> list[int]:
    """Return 1, 2, 4, ... up to half of the layers: with more of them float little is left of int8."""
    return [2**power for power in range(layers.bit_length()) if 2**power <= max(1, layers // 2)]


def _worst(debugger: Any) -> list[str]:
    """Return the tensors that lose more than rounding does, the worst first."""
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    table.seek(0)
    errors = {
        row["tensor_name"]: math.sqrt(float(row["mean_squared_error"])) / float(row["scale"])
        for row in csv.DictReader(table)
        if float(row["scale"]) > 0
    }
    return [name for name in sorted(errors, key=lambda one: (-errors[one], one)) if errors[name] > _ROUNDING]


def _answers(artifact: bytes, inputs: Mapping[str, Array]) -> Array:
    """Return the answers of an artifact with float input and output to the rows [n, width]."""
    return flatbuffer.run(flatbuffer.open_file(artifact), inputs)


def _lists(artifact: bytes, inputs: Mapping[str, Array]) -> Callable[[], Any]:
    """Return the rows as the debugger takes them: lists in the order of the artifact's inputs."""
    interpreter = flatbuffer.open_file(artifact)
    names, _ = flatbuffer.places(interpreter)
    order = [names[detail["index"]] for detail in interpreter.get_input_details()]
    count = len(next(iter(inputs.values())))
    return lambda: ([inputs[name][row : row + 1] for name in order] for row in range(count))

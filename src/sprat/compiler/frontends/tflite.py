"""A given `.tflite`: the research model is the file itself, run on TensorFlow's reference kernels.

A stream's row is a whole sequence: it starts from the state that the file has at first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat.compiler.frontends import flatbuffer, outputs
from sprat.compiler.frontends.states import MEMORIES, VARIABLES
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Work
from sprat.errors import RecipeError

Array = npt.NDArray[Any]


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, Array]:
    """Answer every part with the file's own outputs."""
    raw = Path(work.given).read_bytes()
    try:
        interpreter = flatbuffer.open_file(raw, reference=True)
        _require_state(set(flatbuffer.ops(interpreter)), work)
        _require_inputs(interpreter, work, parts["train"])
        outputs.require_embedding(work.embedding, flatbuffer.output_names(interpreter))
    except (RecipeError, flatbuffer.Unreadable) as exc:
        raise RecipeError(f"{Path(work.given).name}: {exc}") from exc
    if work.stream:
        return {name: _streamed(raw, part.inputs, work) for name, part in parts.items()}
    return {name: _answers(interpreter, part.inputs, work) for name, part in parts.items()}


def source_digest(work: Work) -> str:
    """Return the SHA-256 of the given file."""
    return hashlib.sha256(Path(work.given).read_bytes()).hexdigest()


def _answers(interpreter: Any, inputs: Mapping[str, Array], work: Work) -> Array:
    rows = []
    for row in range(len(next(iter(inputs.values())))):
        interpreter.reset_all_variables()  # kernels with a memory must not go on where another row ended
        one = {name: array[row : row + 1] for name, array in inputs.items()}
        rows.append(flatbuffer.run(interpreter, one, work.answer, beside=work.embedding))
    return np.concatenate(rows)


def _streamed(raw: bytes, inputs: Mapping[str, Array], work: Work) -> Array:
    rows = []
    for row in range(len(next(iter(inputs.values())))):
        steps = {name: array[row] for name, array in inputs.items()}
        # A new interpreter for each sequence: reset_all_variables leaves the graph's own variables as they are.
        found = flatbuffer.run(flatbuffer.open_file(raw, reference=True), steps, work.answer, beside=work.embedding)
        rows.append(outputs.reduced(found, len(found), work.stream))
    return np.concatenate(rows)


def _require_state(ops: set[str], work: Work) -> None:
    if work.stream and not ops & (VARIABLES | MEMORIES):
        raise RecipeError("[stream]: the file keeps no state between readings; leave it out and give one reading a row")
    if ops & VARIABLES and not work.stream:
        raise RecipeError(
            'it keeps state between readings: say [stream] answer = "last" or "max", '
            "and give each row as a whole sequence of readings"
        )


def _require_inputs(interpreter: Any, work: Work, part: Part) -> None:
    """Compare the recipe's inputs with the file's, by name and shape."""
    ins, _ = flatbuffer.places(interpreter)
    wanted = {
        ins.get(one["index"], one["name"]): tuple(int(n) for n in one["shape"][1:])
        for one in interpreter.get_input_details()
    }
    if sorted(wanted) != sorted(work.input_names):
        raise RecipeError(
            f"the file's inputs are {', '.join(sorted(wanted))}, the recipe's {', '.join(work.input_names)}"
        )
    for name, shape in wanted.items():
        found = part.inputs[name].shape[1 + bool(work.stream) :]
        if found != shape:
            what = "a sequence of readings" if work.stream else "a reading"
            raise RecipeError(
                f"input {name!r}: rows have shape {list(part.inputs[name].shape[1:])}, "
                f"expected {what} of shape {list(shape)}"
            )

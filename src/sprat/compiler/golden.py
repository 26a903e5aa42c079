"""The golden set: which readings it holds, and how far a device's outputs may be off from those of the same runtime here.

Its rows are the recipe's choice: real ones, or made ones that hold no row of the data and that every device accepts.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.feature_ranges import NONE
from sprat.compiler.ingest import Ingested
from sprat.compiler.lowering import Lowering
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.tensor_specs import codes_of
from sprat_device.contract.manifest import Tolerance

Array = npt.NDArray[Any]

RESEARCH: Final = "research"
"""Where the golden set keeps the research model's own answers, beside those of the runtimes."""
_LSB: Final = 3.0
"""int8 across CPUs of one runtime was seen 1 step apart after a softmax, 2 between kernels of logits."""


def golden_inputs(part: Part, recipe: Recipe, ingested: Ingested) -> dict[str, Array]:
    """Return readings for the golden set: rows spread over the part, or noise within the range of each input."""
    rows = golden_rows(len(part.labels), recipe)
    if recipe.golden_inputs == "synthetic":
        rng = np.random.default_rng(recipe.train.seed)
        return {
            name: _texts(array, len(rows), rng)
            if array.dtype.kind == "U"
            else _with_codes(
                rng.uniform(*_drawn_from(name, ingested), size=(len(rows), *array.shape[1:])).astype(array.dtype),
                next(codes_of(spec, ingested) for spec in recipe.inputs if spec.name == name), rng,
            )
            for name, array in part.inputs.items()
        }  # fmt: skip
    return {name: array[rows] for name, array in part.inputs.items()}


def golden_rows(available: int, recipe: Recipe) -> npt.NDArray[np.int64]:
    """Return which rows of a part are the golden ones: spread evenly over it."""
    return np.linspace(0, available - 1, min(recipe.golden_count, available)).astype(np.int64)


def tolerance(lowering: Lowering, outputs: Array, *, scale: float | None = None) -> Tolerance:
    """Return how far a device's raw outputs may be off from those of the same runtime here.

    `scale` is that of the output in question, by default the last one's, which is of the answer.
    """
    if (lowering.outputs[-1].scale if scale is None else scale) > 0:
        return Tolerance("lsb", _LSB)
    size = max(1.0, float(np.max(np.abs(outputs), initial=0.0)))
    return Tolerance("absolute", (0.02 if lowering.quantized_inside else 1e-4) * size)


def _drawn_from(name: str, ingested: Ingested) -> tuple[Any, Any]:
    """Return the least and the greatest value to draw: each feature's own where it has one, for a device checks it."""
    whole = ingested.ranges[name]
    lows, highs = map(np.array, ingested.feature_ranges.get(name, NONE))
    if not lows.size:
        return whole
    return np.where(lows < highs, lows, whole[0]), np.where(lows < highs, highs, whole[1])


def _texts(column: Array, count: int, rng: np.random.Generator) -> Array:
    """Return rows of texts, each drawn from its own column: no row of the data, but words that it has."""
    return np.stack([rng.choice(np.unique(column[:, i]), count) for i in range(column.shape[1])], axis=1)


def _with_codes(rows: Array, codes: tuple[tuple[float, ...], ...], rng: np.random.Generator) -> Array:
    """Put codes that the data has where a device takes no others."""
    for place, known in enumerate(codes):
        if known:
            rows[..., place] = rng.choice(known, rows.shape[:-1])
    return rows

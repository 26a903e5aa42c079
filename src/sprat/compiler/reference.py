"""Freezes the reference distribution that devices compare theirs with: the bundle's baseline.

Values are counted as a device will see them, in the dtype of its readings: a value that lies on an edge must fall on
the same side of it there. Scores are those of the artifact itself on rows that it was not trained on: a model is
surer of its training rows, and a quantized one gives other scores, and both would look like a drift for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.embedded import Embedded
from sprat.compiler.frontends import outputs
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.recipe import Recipe
from sprat_device.contract import statistics
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.manifest import Task, TensorSpec
from sprat_device.contract.sketch import Histogram
from sprat_device.contract.statistics import Kind, Statistic

Array = npt.NDArray[Any]
_BINS: Final = 10
_CHUNK_ROWS: Final = 1024
_PRESENCE: Final = (0.5,)
"""The one edge between a value that is there (0) and one that is missing (1)."""


def baseline(
    train: Part,
    predicted: Array,
    recipe: Recipe,
    *,
    threshold: float | None = None,
    specs: Sequence[TensorSpec] = (),
    steps: int = 0,
    answers: Mapping[str, Array] | None = None,
    shown: Embedded | None = None,
) -> Baseline:
    """Return the training rows' distribution over ten bins of equal share, for each feature, input and statistic.

    `predicted` [n, width] are the answers to those rows, `specs` the inputs as the manifest declares them, `steps` how
    many readings each row of a stream has, `answers` the figures of answers to other rows, by statistic, and `shown` the
    embeddings where the model has one.
    """
    plain: dict[str, Histogram] = {}
    for spec in recipe.inputs:
        array = _as_read(train.inputs[spec.name], specs, spec.name)
        if array.dtype.kind == "U":
            continue  # drift counts numbers
        columns = {name: array[..., i] for i, name in enumerate(spec.features)} or {spec.name: array}
        plain |= {name: _spread(values) for name, values in columns.items()}
    more = dict(_statistics(train, specs, steps))
    space = None if shown is None else shown.space()
    seen = {} if shown is None or space is None else shown.figures(space)
    more |= {name: _spread(values) for name, values in {**(answers or {}), **seen}.items()}
    return Baseline(
        {name: histogram.edges for name, histogram in plain.items()},
        {name: histogram.counts for name, histogram in plain.items()},
        _classes(predicted, recipe, threshold),
        {name: histogram.edges for name, histogram in more.items()},
        {name: histogram.counts for name, histogram in more.items()},
        space,
    )


def _as_read(array: Array, specs: Sequence[TensorSpec], name: str) -> Array:
    """Return values in the dtype of a device's readings: float32 where the artifact's input is quantized."""
    spec = next((spec for spec in specs if spec.name == name), None)
    if spec is None or array.dtype.kind == "U":
        return array
    return array.astype(np.float32 if spec.scale > 0 else spec.dtype)


def _spread(values: Array) -> Histogram:
    """Count values over the edges between ten bins of equal share; values that are missing are left out."""
    numbers = np.asarray(values, np.float64)
    known = numbers[np.isfinite(numbers)]
    histogram = Histogram.empty(np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if known.size else ())
    histogram.add(known)
    return histogram


def _statistics(train: Part, specs: Sequence[TensorSpec], steps: int) -> Iterator[tuple[str, Histogram]]:
    for spec in specs:
        rows = outputs.flattened(_as_read(train.inputs[spec.name], specs, spec.name), steps)
        for statistic in statistics.of_input(spec):
            figures = _figures(statistic, rows)
            if statistic.kind is Kind.MISSING:
                histogram = Histogram.empty(_PRESENCE)
                histogram.add(figures)
                yield statistic.name, histogram
            else:
                yield statistic.name, _spread(figures)


def _figures(statistic: Statistic, rows: Array) -> Array:
    """Return a statistic of every reading, a chunk at a time: images as float64 take eight times their bytes."""
    chunks = (rows[begin : begin + _CHUNK_ROWS] for begin in range(0, len(rows), _CHUNK_ROWS))
    return np.concatenate([statistic.of(np.asarray(chunk, np.float64)) for chunk in chunks])


def _classes(predicted: Array, recipe: Recipe, threshold: float | None) -> npt.NDArray[np.int64]:
    if threshold is not None:
        return np.bincount(predicted.ravel() > threshold, minlength=2).astype(np.int64)
    if recipe.task is Task.CLASSIFICATION:
        return np.bincount(predicted.argmax(1), minlength=len(recipe.labels)).astype(np.int64)
    return np.zeros(0, np.int64)

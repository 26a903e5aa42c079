"""Is a reading unlike those of training? Fences around what the baseline froze of each feature and statistic.

A fence lies as many interdecile ranges beyond the outermost deciles as `factor` says (Tukey, Exploratory Data Analysis,
1977, with deciles for quartiles, which are what a baseline holds); with 1 a normal value lies outside once in 8,000.
A feature with few different values has no fence: most of its deciles are one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract import statistics
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.statistics import Kind, Statistic
from sprat_device.inference.looks import Looks

_FEWEST_EDGES: Final = 5
Inputs = Mapping[str, npt.NDArray[Any]]
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Columns:
    """The fences of one input's columns; -inf and inf where a column has none."""

    input: str
    names: tuple[str, ...]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    def outside(self, array: npt.NDArray[Any]) -> str:
        beyond = (array < self.low) | (array > self.high)
        if not beyond.any():
            return ""
        return self.names[int(np.argmax(beyond.reshape(-1, len(self.names)).any(axis=0)))]


class Fences:
    """The fences of one bundle."""

    def __init__(self, manifest: Manifest, baseline: Baseline, *, factor: float) -> None:
        frozen = {**baseline.statistic_edges, **baseline.edges}
        bounds = {name: pair for name, edges in frozen.items() if (pair := _bounds(edges, factor)) is not None}
        numbers = [spec for spec in manifest.inputs if spec.dtype != "string"]
        self._columns = [found for spec in numbers if (found := _columns(spec, bounds)) is not None]
        self._statistics = [
            (one, bounds[one.name])
            for spec in numbers
            for one in statistics.of_input(spec)
            if one.kind is not Kind.MISSING and one.name in bounds
        ]
        self._looks = Looks(sum(int(np.prod(spec.shape[1:])) for spec in numbers))

    def outside(self, inputs: Inputs, mono_us: int) -> str:
        """Return the first feature or statistic that lies outside, empty for a reading like those of training."""
        if not self._looks.afford(mono_us):
            return ""
        for columns in self._columns:
            if name := columns.outside(inputs[columns.input]):
                return name
        for statistic, (low, high) in self._statistics:
            value = _figure(statistic, inputs[statistic.input])
            if value < low or value > high:
                return statistic.name
        return ""


def _figure(statistic: Statistic, array: npt.NDArray[Any]) -> float:
    return float(statistic.of(np.asarray(array, np.float64)[None])[0])


def _bounds(edges: npt.NDArray[np.float64], factor: float) -> Bounds | None:
    if len(edges) < _FEWEST_EDGES:
        return None
    reach = factor * float(edges[-1] - edges[0])
    return float(edges[0]) - reach, float(edges[-1]) + reach


def _columns(spec: TensorSpec, bounds: Mapping[str, Bounds]) -> _Columns | None:
    names = spec.features or (spec.name,)
    if not any(name in bounds for name in names):
        return None
    low, high = zip(*(bounds.get(name, (-np.inf, np.inf)) for name in names), strict=True)
    return _Columns(spec.name, names, np.array(low), np.array(high))

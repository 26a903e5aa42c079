"""How the inputs of now are spread over the edges that the bundle's baseline froze: constant memory, counted in blocks.

A baseline's feature is a column of an input's last axis (by its name in `features`), or a whole input (by the input's name).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.bundle import Baseline
from sprat_device.contract.errors import BundleRefused, ContractError
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.contract.sketch import Histogram

_BLOCK_BYTES: Final = 256 * 1024
_MOST_ROWS: Final = 256


class Drift:
    """Collects readings into a block per input; a full block is counted at once, which is cheaper than one by one."""

    def __init__(self, manifest: Manifest, baseline: Baseline) -> None:
        self._histograms = {name: _histogram(name, edges) for name, edges in baseline.edges.items()}
        self._columns = {name: _place(manifest, name) for name in self._histograms}
        used = {spec.name: spec for spec, _column in self._columns.values()}
        widest = max((_size(spec) for spec in used.values()), default=1)
        self._rows = max(1, min(_MOST_ROWS, _BLOCK_BYTES // (8 * widest)))
        self._blocks = {name: np.empty((self._rows, *spec.shape[1:])) for name, spec in used.items()}
        self._filled = 0

    def add(self, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take one checked reading."""
        for name, block in self._blocks.items():
            block[self._filled] = inputs[name]
        self._filled += 1
        if self._filled == self._rows:
            self._count()

    def take(self) -> dict[str, tuple[int, ...]]:
        """Return the counts since the last call, per feature, and begin anew."""
        self._count()
        taken = {name: tuple(histogram.counts.tolist()) for name, histogram in self._histograms.items()}
        for histogram in self._histograms.values():
            histogram.counts[:] = 0
        return taken

    def _count(self) -> None:
        for name, (spec, column) in self._columns.items():
            block = self._blocks[spec.name][: self._filled]
            self._histograms[name].add(block if column is None else block[..., column])
        self._filled = 0


def _histogram(name: str, edges: npt.NDArray[np.float64]) -> Histogram:
    try:
        return Histogram.empty(edges)
    except ContractError as exc:
        raise BundleRefused(Reason.BAD_BUNDLE, f"baseline.{name}: {exc}") from exc


def _place(manifest: Manifest, feature: str) -> tuple[TensorSpec, int | None]:
    for spec in manifest.inputs:
        if spec.dtype == "string":
            continue
        if feature in spec.features:
            return spec, spec.features.index(feature)
        if feature == spec.name:
            return spec, None
    raise BundleRefused(
        Reason.MANIFEST_MISMATCH, f"baseline: {feature!r} is neither a number input of the model nor a feature of one"
    )


def _size(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape[1:]))

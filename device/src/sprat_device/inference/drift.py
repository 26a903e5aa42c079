"""How readings and answers of now are spread over the edges that the bundle's baseline froze, in constant memory.

A baseline's feature is a column of an input's last axis (by its name in `features`), or a whole input (by the input's
name); its statistics are worked out of a reading or an answer (contract/statistics.py), and of the embedding where the
bundle has one (contract/embedding.py). Counts add, so those of many intervals and devices are summed to one. Readings
are gathered in a block and counted a block at a time; of large ones only so many are looked at (looks.py), and of the
embeddings those of the same readings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract import embedding, statistics
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.errors import BundleRefused, ContractError
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.contract.sketch import Histogram
from sprat_device.contract.statistics import Statistic
from sprat_device.inference.looks import Looks
from sprat_device.inference.seen import Seen, wanted

BLOCK: Final = 256
"""Answers, and readings of few values, that are counted at once."""
_BLOCK_BYTES: Final = 256 * 1024

Counts = dict[str, tuple[int, ...]]


class Drift:
    """Counts of one bundle since they were last taken."""

    def __init__(self, manifest: Manifest, baseline: Baseline) -> None:
        known = {one.name: one for spec in manifest.inputs for one in statistics.of_input(spec)}
        self._statistics = {name: known[name] for name in baseline.statistic_edges if name in known}
        self._columns = {name: _place(manifest, name) for name in baseline.edges}
        counted = {
            name: edges
            for name, edges in baseline.statistic_edges.items()
            if name in known or name.startswith(("output:", embedding.PREFIX))
        }
        self._histograms = {name: _histogram(name, edges) for name, edges in {**counted, **baseline.edges}.items()}
        self._of_answers = statistics.meaning_of(manifest.outputs)
        used = _used(manifest, self._columns, self._statistics.values())
        shown = wanted(manifest, baseline)
        sizes = [*map(_size, used), *([shown[1].width] if shown else [])]
        self._rows = _rows(max(map(_size, used), default=1))
        self._blocks = {spec.name: np.empty((self._rows, *spec.shape[1:])) for spec in used}
        self._seen = Seen(*shown, _rows(shown[1].width)) if shown else None
        self._filled = 0
        self._looks = Looks(sum(sizes))

    def add(
        self, inputs: Mapping[str, npt.NDArray[Any]], mono_us: int, embedded: npt.NDArray[Any] | None = None
    ) -> None:
        """Take one checked reading, and the raw embedding of it where the manifest names one."""
        if not self._looks.afford(mono_us):
            return
        filled = self._filled
        for name, block in self._blocks.items():
            block[filled] = inputs[name]
        if self._seen is not None and embedded is not None and self._seen.add(embedded):
            self._add_figures(self._seen.take())
        self._filled = filled + 1
        if self._filled == self._rows:
            self._count()

    def add_answers(self, outputs: npt.NDArray[Any]) -> None:
        """Count answers [n, width]."""
        self._add_figures(statistics.of_answers(self._of_answers, outputs))

    def take(self) -> Counts:
        """Return the counts since the last call, by feature and statistic, and begin anew."""
        self._count()
        if self._seen is not None:
            self._add_figures(self._seen.take())
        taken = {name: tuple(histogram.counts.tolist()) for name, histogram in self._histograms.items()}
        for histogram in self._histograms.values():
            histogram.counts[:] = 0
        return taken

    def _add_figures(self, found: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, figures in found.items():
            if (histogram := self._histograms.get(name)) is not None:
                histogram.add(figures)

    def _count(self) -> None:
        if not self._filled:
            return
        rows = {name: block[: self._filled] for name, block in self._blocks.items()}
        for name, (spec, column) in self._columns.items():
            block = rows[spec.name]
            self._histograms[name].add(block if column is None else block[..., column])
        for name, statistic in self._statistics.items():
            self._histograms[name].add(statistic.of(rows[statistic.input]))
        self._filled = 0


def _rows(size: int) -> int:
    """Return how many readings of so many values a block has room for."""
    return max(1, min(BLOCK, _BLOCK_BYTES // (8 * size)))


def _used(
    manifest: Manifest, columns: Mapping[str, tuple[TensorSpec, int | None]], more: Iterable[Statistic]
) -> list[TensorSpec]:
    """Return the inputs that something is counted of."""
    names = {spec.name for spec, _column in columns.values()} | {statistic.input for statistic in more}
    return [spec for spec in manifest.inputs if spec.name in names]


def _histogram(name: str, edges: npt.NDArray[np.float64]) -> Histogram:
    try:
        return Histogram.empty(edges)
    except ContractError as exc:
        raise BundleRefused(Reason.BAD_BUNDLE, f"baseline.{name}: {exc}") from exc


def _place(manifest: Manifest, feature: str) -> tuple[TensorSpec, int | None]:
    for spec in _numbers(manifest):
        if feature in spec.features:
            return spec, spec.features.index(feature)
        if feature == spec.name:
            return spec, None
    raise BundleRefused(
        Reason.MANIFEST_MISMATCH, f"baseline: {feature!r} is neither a number input of the model nor a feature of one"
    )


def _numbers(manifest: Manifest) -> Iterator[TensorSpec]:
    return (spec for spec in manifest.inputs if spec.dtype != "string")


def _size(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape[1:]))

"""A block of embeddings as the artifact gave them; they are brought into their unit when the block is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sprat_device.contract import embedding
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.embedding import Space
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference.tensors import values


class Seen:
    """Room for so many embeddings, and the figures of those that are in it."""

    def __init__(self, spec: TensorSpec, space: Space, rows: int) -> None:
        self._space = space
        self._in_unit = values(spec)
        self._block = np.empty((rows, space.width), spec.dtype)
        self._filled = 0

    def add(self, raw: npt.NDArray[Any]) -> bool:
        """Keep one embedding, flat and in the artifact's own dtype; True where there is no room for another."""
        self._block[self._filled] = raw
        self._filled += 1
        return self._filled == len(self._block)

    def take(self) -> dict[str, npt.NDArray[Any]]:
        """Return the figures of what was kept, by name, and make room."""
        filled, self._filled = self._filled, 0
        return self._space.figures(self._in_unit(self._block[:filled]))


def wanted(manifest: Manifest, baseline: Baseline) -> tuple[TensorSpec, Space] | None:
    """Return what is compared, None where no output is an embedding or the build froze nothing of it."""
    spec, space = embedding.of(manifest.outputs), baseline.space
    if spec is None or space is None:
        return None
    if embedding.width(spec) != space.width:
        raise BundleRefused(
            Reason.MANIFEST_MISMATCH,
            f"baseline.embedding: of {space.width} numbers, the output {spec.name!r} has {embedding.width(spec)}",
        )
    return spec, space

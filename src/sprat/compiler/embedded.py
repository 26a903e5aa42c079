"""What a build freezes of a model's embeddings: where those of training lie, and how those of other rows are spread there.

The directions are principal components of the training rows (Pearson, On Lines and Planes of Closest Fit, 1901). How far
rows lie along them and off them is measured on rows that the model was not trained on: it draws its training rows closer
together than any that it will see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.errors import RecipeError
from sprat_device.contract.embedding import MAX_DIRECTIONS, MAX_WIDTH, PREFIX, Space

Array = npt.NDArray[Any]
MOST_ROWS: Final = 2048
"""Training rows that directions are found from: more of them change little."""
_LEAST_SPREAD: Final = 0.01
"""Of a direction, as a share of the widest one's: along a narrower one kernels' rounding would be a drift."""
_LEAST_OF_MEAN: Final = 1e-3
"""Of a length, as a share of its mean: embeddings that a model brings to one length differ by rounding alone."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings [n, width] of rows of training, and of rows that the model was not trained on."""

    train: Array
    other: Array

    def space(self) -> Space:
        """Return the space of training; RecipeError for an embedding that is too wide or tells nothing."""
        rows = np.asarray(self.train, np.float64)
        if rows.shape[1] > MAX_WIDTH:
            raise RecipeError(
                f"embedding: {rows.shape[1]} numbers for a reading, at most {MAX_WIDTH} are compared; "
                "name a layer that comes after the pooling"
            )
        if not (np.all(np.isfinite(rows)) and np.all(np.isfinite(self.other))):
            raise RecipeError("embedding: it is not finite for some of the rows; name another layer")
        mean = rows.mean(axis=0)
        _, lengths, directions = np.linalg.svd(rows - mean, full_matrices=False)
        spreads = lengths / np.sqrt(max(1, len(rows) - 1))
        kept = int(np.sum(spreads[:MAX_DIRECTIONS] > _LEAST_SPREAD * spreads[0])) if spreads[0] > 0 else 0
        if not kept:
            raise RecipeError(f"embedding: it is the same for all {len(rows)} rows; name another layer")
        return Space(
            mean.astype(np.float32), _signed(directions[:kept]).astype(np.float32), spreads[:kept].astype(np.float32)
        )

    def figures(self, space: Space) -> dict[str, Array]:
        """Return the figures of the other rows, but for lengths that are one and the same for all of them."""
        found = space.figures(np.asarray(self.other, np.float32))
        size = float(found[f"{PREFIX}norm"].mean())
        return {name: values for name, values in found.items() if _tells(name, values, size)}


def _tells(name: str, values: Array, size: float) -> bool:
    """Tell whether a figure varies by more than rounding: directions do, lengths against the embeddings' own size."""
    return name not in _LENGTHS or float(values.std()) > _LEAST_OF_MEAN * size


_LENGTHS: Final = frozenset({f"{PREFIX}norm", f"{PREFIX}residual"})


def _signed(directions: Array) -> Array:
    """Return directions with their largest part above zero: which way one points is the algorithm's chance."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return np.asarray(directions * np.sign(largest))

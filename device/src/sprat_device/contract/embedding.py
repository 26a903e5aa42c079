"""The model's own view of a reading, and the few figures of it whose distribution is compared.

An **embedding** is an output that is no answer: what a layer before the last ones makes of the reading. Pictures of
another kind may be as bright as those of training and lie where no picture of training does. A build freezes a mean and
a few directions (`Space`); device and build work the figures out of them by the very same function.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.errors import ContractError
from sprat_device.contract.manifest import EMBEDDING, TensorSpec

MAX_DIRECTIONS: Final = 8
SPACE_BYTES: Final = 4 * (MAX_DIRECTIONS + 1)
"""At most, for each number of an embedding."""
MAX_WIDTH: Final = 4096
"""Numbers of one embedding: directions of more would weigh more than many a model."""
PREFIX: Final = "embedding:"
"""What the names of all its figures begin with."""
_DECIMALS: Final = 4

Rows = npt.NDArray[np.floating[Any]]


def of(outputs: Iterable[TensorSpec]) -> TensorSpec | None:
    """Return the output that is the embedding, None where a manifest names none."""
    return next((spec for spec in outputs if spec.meaning == EMBEDDING), None)


def width(spec: TensorSpec) -> int:
    """Return how many numbers the embedding of one reading has."""
    return int(np.prod(spec.shape[1:]))


@dataclass(frozen=True, slots=True)
class Space:
    """Where the embeddings of training lie: their mean [width], unit directions [k, width] and spreads along them [k]."""

    mean: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]
    spreads: npt.NDArray[np.float32]

    @property
    def width(self) -> int:
        """Return how many numbers an embedding has."""
        return len(self.mean)

    def figures(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Return the figures of embeddings [n, width] in their unit, by name; of one that is not finite none is.

        - `direction[i]`: how far along the i-th principal direction, in standard deviations of training.
        - `distance`: the length of these, which is the Mahalanobis distance within the directions: the score of Lee et
          al. (A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks, NeurIPS
          2018) with one mean for all classes, as the device knows no true class; in process control Hotelling's T.
        - `residual`: what the directions leave over, the other half of that control chart (Jackson and Mudholkar,
          Control Procedures for Residuals Associated With Principal Component Analysis, Technometrics 21, 1979).
        - `norm`: the length of the embedding itself; both in spreads of the first direction.

        All are worked out in float64 and rounded: matrix products differ in their last bits with the rows in them and the
        processor, and what many readings share (a blank picture) lies on an edge. Of float32 products of a thousand
        numbers the fourth decimal differed too.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            away = rows.astype(np.float64)
            lengths = _lengths(away)
            directions = self.directions.astype(np.float64)  # numpy multiplies two kinds of numbers much more slowly
            away -= self.mean
            along = away @ directions.T
            away -= along @ directions
            whitened = along / self.spreads
            figures = {f"{PREFIX}direction[{place}]": whitened[:, place] for place in range(len(self.spreads))}
            figures[f"{PREFIX}distance"] = _lengths(whitened)
            figures[f"{PREFIX}residual"] = _lengths(away) / self.spreads[0]
            figures[f"{PREFIX}norm"] = lengths / self.spreads[0]
            return {name: np.round(values, _DECIMALS).astype(np.float32) for name, values in figures.items()}

    def dump(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that stand in a baseline."""
        return {"mean": self.mean, "directions": self.directions, "spreads": self.spreads}


def parse(raw: dict[str, npt.NDArray[Any]]) -> Space | None:
    """Read the arrays of a baseline, None where there are none; ContractError where they do not fit each other."""
    if not raw:
        return None
    missing = sorted({"mean", "directions", "spreads"} - raw.keys())
    if missing:
        raise ContractError(f"baseline.embedding: {missing[0]!r} is missing")
    mean, directions, spreads = (raw[name] for name in ("mean", "directions", "spreads"))
    count = len(spreads) if spreads.ndim == 1 else 0
    if not (
        mean.ndim == 1
        and 1 <= mean.size <= MAX_WIDTH
        and 1 <= count <= MAX_DIRECTIONS
        and directions.shape == (count, mean.size)
    ):
        raise ContractError(
            f"baseline.embedding: mean {list(mean.shape)}, directions {list(directions.shape)} and spreads "
            f"{list(spreads.shape)} do not fit; expected 1 to {MAX_DIRECTIONS} directions of 1 to {MAX_WIDTH} numbers"
        )
    every = (mean, directions, spreads)
    if any(array.dtype != np.float32 or not np.all(np.isfinite(array)) for array in every) or spreads.min() <= 0:
        raise ContractError("baseline.embedding: expected finite float32 numbers and spreads above zero")
    return Space(mean, directions, spreads)


def _lengths(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    lengths: npt.NDArray[Any] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return lengths

"""Figures of a reading or an answer whose distribution a baseline freezes beside that of the bare values.

The build and the device work them out by the very same functions. A statistic's name says what it is: `mean:acc_x` and
`std:acc_x` are the mean and the standard deviation over one reading of one channel (brightness and contrast of an image,
offset and energy of a window of sound), `missing:co2` is 1 where a value is missing and else 0, and `output:confidence`
is the highest score. Readers leave out a name that they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.manifest import TensorSpec

MAX_CHANNELS: Final = 16
"""A last axis without names that is longer is a row of pixels or of frequencies, not a set of channels."""
_SHORTEST: Final = 16
"""A vector without names that is shorter is taken for a row of a table, not for a stretch of sound."""
_MEANINGS: Final = ("probabilities", "decision", "score", "values")

Rows = npt.NDArray[np.float64]


class Kind(StrEnum):
    """What is worked out of one channel of one reading."""

    MEAN = "mean"
    STD = "std"
    MISSING = "missing"


_FIGURES: Final[Mapping[Kind, Callable[[Rows], Rows]]] = {
    Kind.MEAN: lambda flat: flat.mean(axis=1),
    Kind.STD: lambda flat: flat.std(axis=1),
    Kind.MISSING: lambda flat: np.isnan(flat).ravel().astype(np.float64),
}


@dataclass(frozen=True, slots=True)
class Statistic:
    """One figure of one channel; `column` is the channel's place in the last axis, None for the whole input."""

    kind: Kind
    channel: str
    input: str
    column: int | None = None

    @property
    def name(self) -> str:
        """Return the name under which a baseline and a summary hold it."""
        return f"{self.kind}:{self.channel}"

    def of(self, rows: Rows) -> Rows:
        """Return the figures of readings [n, ...]; a mean or a deviation over a missing value is not a number."""
        part = rows if self.column is None else rows[..., self.column]
        return _FIGURES[self.kind](part.reshape(len(rows), -1))


def of_input(spec: TensorSpec) -> tuple[Statistic, ...]:
    """Return the statistics of one input: of windows, images and sound means and deviations, and what may be missing."""
    if spec.dtype == "string":
        return ()
    shape, channels = spec.shape[1:], list(_channels(spec))
    found: list[Statistic] = []
    if len(shape) > 1 or (shape and not spec.features and shape[0] >= _SHORTEST):
        found += [
            Statistic(kind, name, spec.name, column) for name, column in channels for kind in (Kind.MEAN, Kind.STD)
        ]
    if spec.missing_allowed:
        found += [Statistic(Kind.MISSING, name, spec.name, column) for name, column in channels]
    return tuple(found)


def _channels(spec: TensorSpec) -> Iterable[tuple[str, int | None]]:
    last = spec.shape[-1]
    if spec.features:
        return [(name, column) for column, name in enumerate(spec.features)]
    if len(spec.shape) > 2 and 1 < last <= MAX_CHANNELS:
        return [(f"{spec.name}[{column}]", column) for column in range(last)]
    return [(spec.name, None)]


def meaning_of(outputs: Sequence[TensorSpec]) -> str:
    """Return what an answer's numbers are; empty where it has none whose distribution would tell anything."""
    meanings = {spec.meaning for spec in outputs}
    return next((meaning for meaning in _MEANINGS if meaning in meanings), "")


def of_answers(meaning: str, outputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the figures of answers [n, width]: the highest score, or each value."""
    match meaning:
        case "probabilities":
            return {"output:confidence": outputs.max(axis=1)}
        case "decision":
            return {"output:decision": outputs.max(axis=1)}
        case "score":
            return {"output:score": outputs[:, 0]}
        case "values" if outputs.shape[1] == 1:
            return {"output:value": outputs[:, 0]}
        case "values":
            return {f"output:value[{i}]": outputs[:, i] for i in range(min(outputs.shape[1], MAX_CHANNELS))}
        case _:
            return {}

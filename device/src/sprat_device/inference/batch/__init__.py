"""Batch files in pieces: inputs are read, run and written piece by piece, so that a file may be larger than memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from sprat_device.contract.records import NO_LABEL

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a file: an array [rows, ...] for each input; or, of a folder, one file with its name."""

    inputs: Arrays
    names: tuple[str, ...] = ()
    fault: str = ""
    """Why a folder's file is no input; `inputs` is then empty."""

    @property
    def count(self) -> int:
        """Return how many rows it has."""
        return len(self.names) if self.names else len(next(iter(self.inputs.values())))


@dataclass(frozen=True, slots=True)
class Row:
    """One row's answer, or the reason why there is none."""

    label: int = NO_LABEL
    name: str = ""
    outputs: tuple[float, ...] = ()
    reason: str = ""
    file: str = field(default="", kw_only=True)
    """Of a folder: which file it was."""

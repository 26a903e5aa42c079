"""One reading and two answers: whether they name the same label, and how far apart their scores are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sprat_device.contract.records import NO_LABEL

Outputs = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Compared:
    """`same` is None where one of the two gives no label; distances are None where the outputs do not match."""

    same: bool | None
    mean_distance: float | None = None
    max_distance: float | None = None


class Comparer:
    """Compares the answers of two bundles, whose labels may stand in another order, or be others."""

    def __init__(self, active: Sequence[str], shadow: Sequence[str], *, scores: bool) -> None:
        self._active = tuple(active)
        self._shadow = tuple(shadow)
        self._order: npt.NDArray[np.int64] | None = None
        if scores and self._active != self._shadow and sorted(self._active) == sorted(self._shadow):
            self._order = np.array([self._shadow.index(label) for label in self._active])
        self._aligned = not scores or sorted(self._active) == sorted(self._shadow)

    def compare(self, label: int, outputs: Outputs, shadow_label: int, shadow_outputs: Outputs) -> Compared:
        """Compare one pair of answers."""
        same = None
        if NO_LABEL not in (label, shadow_label):
            same = _name(self._active, label) == _name(self._shadow, shadow_label)
        if not self._aligned or outputs.shape != shadow_outputs.shape or not outputs.size:
            return Compared(same)
        if self._order is not None and outputs.size != len(self._order):
            return Compared(same)  # one number for all labels, which has no order
        beside = shadow_outputs if self._order is None else shadow_outputs[self._order]
        gaps = np.abs(outputs.astype(np.float64) - beside)
        return Compared(same, float(gaps.mean()), float(gaps.max()))


def _name(labels: tuple[str, ...], position: int) -> str:
    """Return a label's text; a model without label texts has positions alone."""
    return labels[position] if position < len(labels) else str(position)

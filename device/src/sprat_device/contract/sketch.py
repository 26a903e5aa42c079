"""Constant-size, mergeable summaries of distributions, and the distance between two of them.

`LogHistogram` keeps quantiles of positive values within 5 % (Masson, Rim, Lee: DDSketch, VLDB 2019, with fixed
buckets). `Histogram` counts over the edges that a bundle's baseline froze; `psi` compares two of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.errors import ContractError

_GAMMA: Final = 1.1
_LOG_GAMMA: Final = math.log(_GAMMA)
_LOWEST: Final = -160
_HIGHEST: Final = 320
"""Buckets of values from 2.4e-7 to 1.8e13; what lies outside counts in the outermost."""
_Z_999: Final = 3.0902
"""The normal distribution's quantile of 0.999."""


@dataclass(slots=True)
class LogHistogram:
    """Counts of positive values in buckets that grow by 10 %."""

    counts: dict[int, int] = field(default_factory=dict)

    def add(self, value: float, times: int = 1) -> None:
        """Count one value (zero and below count in the lowest bucket)."""
        bucket = _bucket(value)
        self.counts[bucket] = self.counts.get(bucket, 0) + times

    def add_many(self, values: npt.NDArray[np.generic]) -> None:
        """Count an array of values."""
        positive = np.fmax(values.astype(np.float64), _GAMMA**_LOWEST)  # what is no number counts in the lowest
        places = np.minimum(np.ceil(np.log(positive) / _LOG_GAMMA), _HIGHEST).astype(int) - _LOWEST
        times = np.bincount(places)
        for place in times.nonzero()[0].tolist():
            self.counts[place + _LOWEST] = self.counts.get(place + _LOWEST, 0) + int(times[place])

    def merge(self, other: LogHistogram) -> None:
        """Add another's counts to these."""
        for bucket, times in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + times

    @property
    def count(self) -> int:
        """Return how many values were counted."""
        return sum(self.counts.values())

    def quantile(self, q: float) -> float | None:
        """Return the value below which a share `q` (0..1) lies, within 5 %; None while empty."""
        rank = q * (self.count - 1)
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen > rank:
                return 2 * _GAMMA**bucket / (_GAMMA + 1)
        return None

    def dump(self) -> list[list[int]]:
        """Return plain pairs of bucket and count."""
        return [[bucket, self.counts[bucket]] for bucket in sorted(self.counts)]

    @classmethod
    def parse(cls, raw: object) -> LogHistogram:
        """Read plain pairs, or raise ContractError."""
        if not isinstance(raw, list | tuple) or len(raw) > _HIGHEST - _LOWEST + 1:
            raise ContractError("sketch: expected a list of [bucket, count]")
        counts: dict[int, int] = {}
        for pair in raw:
            match pair:
                case [int(bucket), int(times)] if _LOWEST <= bucket <= _HIGHEST and times >= 0:
                    counts[bucket] = counts.get(bucket, 0) + times
                case _:
                    raise ContractError(f"sketch: impossible entry {pair!r}")
        return cls(counts)


def _bucket(value: float) -> int:
    if value <= _GAMMA**_LOWEST:
        return _LOWEST
    return min(_HIGHEST, math.ceil(math.log(value) / _LOG_GAMMA))


@dataclass(slots=True)
class Histogram:
    """Counts between frozen edges: `counts[0]` lies below the first edge, `counts[-1]` at or above the last."""

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, edges: Iterable[float]) -> Histogram:
        """Make one with nothing counted."""
        fixed = np.asarray(list(edges), np.float64)
        if fixed.ndim != 1 or not np.all(np.diff(fixed) > 0):
            raise ContractError("histogram: edges must increase")
        return cls(fixed, np.zeros(len(fixed) + 1, np.int64))

    def add(self, values: npt.NDArray[np.generic]) -> None:
        """Count an array of values; what is not finite is left out."""
        flat = np.asarray(values, np.float64).ravel()
        places = np.searchsorted(self.edges, flat[np.isfinite(flat)], side="right")
        self.counts += np.bincount(places, minlength=len(self.counts))

    def merge(self, other: Histogram) -> None:
        """Add another's counts to these; the edges must be the same."""
        if not np.array_equal(self.edges, other.edges):
            raise ContractError("histogram: edges differ, the counts cannot be added")
        self.counts += other.counts


def psi(reference: npt.NDArray[np.int64], current: npt.NDArray[np.int64]) -> float:
    """Return the population stability index of two count vectors of one length.

    Sum over bins of (c - r) * ln(c / r) with shares c and r (Siddiqi, Credit Risk Scorecards, 2006); half a count is
    added to each bin so that an empty one stays finite. Above 0.2 is commonly called a shift.
    """
    if reference.shape != current.shape:
        raise ContractError(f"psi: {reference.shape} bins against {current.shape}")
    r = (reference + 0.5) / (reference + 0.5).sum()
    c = (current + 0.5) / (current + 0.5).sum()
    return float(np.sum((c - r) * np.log(c / r)))


def psi_noise(bins: int, reference_count: int, count: int) -> float:
    """Return the PSI that two samples of one distribution stay below in 999 of 1,000 cases.

    Without a shift PSI / (1/n + 1/m) follows a chi-squared distribution with bins - 1 degrees of freedom (Yurdakul,
    Statistical Properties of Population Stability Index, 2018); its quantile is that of Wilson and Hilferty (1931).
    """
    freedom = max(1, bins - 1)
    part = 2 / (9 * freedom)
    chi_squared = freedom * (1 - part + _Z_999 * math.sqrt(part)) ** 3
    return chi_squared * (1 / max(1, reference_count) + 1 / max(1, count))


def ks(reference: npt.NDArray[np.int64], current: npt.NDArray[np.int64]) -> float:
    """Return the Kolmogorov-Smirnov distance of two count vectors of one length: the largest gap between their shares.

    It is taken at the edges alone (Smirnov, Ann. Math. Statist. 19, 1948, over the bins), so it is a lower bound.
    """
    if reference.shape != current.shape:
        raise ContractError(f"ks: {reference.shape} bins against {current.shape}")
    gaps = np.cumsum(reference) / max(1, reference.sum()) - np.cumsum(current) / max(1, current.sum())
    return float(np.max(np.abs(gaps), initial=0.0))


def merged(sketches: Iterable[LogHistogram]) -> LogHistogram:
    """Return the sum of many."""
    total = LogHistogram()
    for sketch in sketches:
        total.merge(sketch)
    return total


def class_counts(raw: Mapping[str, int]) -> dict[int, int]:
    """Read counts by class position from a plain mapping with string keys."""
    return {int(name): int(times) for name, times in raw.items()}

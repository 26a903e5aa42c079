"""How far one column's values lie from another's: the population stability index over the reference's deciles."""

from __future__ import annotations

from typing import Final

import numpy as np

from sprat.data.table import Column
from sprat_device.contract.sketch import Histogram, psi

SHIFT: Final = 0.25
"""PSI from which a shift is large, by custom (Siddiqi 2006)."""
_BINS: Final = 10
_SAMPLE: Final = 200_000
"""Values from which the deciles are taken."""


def shift(reference: Column, current: Column) -> float:
    """Return the PSI of two columns of one kind; every word is a bin of its own where they hold text."""
    if reference.dtype.kind in "SU":
        words, places = np.unique(np.concatenate([reference.ravel(), current.ravel()]), return_inverse=True)
        counts = [np.bincount(part, minlength=len(words)) for part in np.split(places, [reference.size])]
        return psi(counts[0], counts[1])
    histogram = Histogram.empty(_edges(reference))
    histogram.add(reference)
    other = Histogram.empty(histogram.edges)
    other.add(current)
    return psi(histogram.counts, other.counts)


def noise(reference: Column, current: Column) -> float:
    """Return the PSI that two samples of one distribution show by chance.

    (bins - 1) * (1/n + 1/m) is its expectation (Yurdakul, Statistical Properties of Population Stability Index, 2018);
    twice that covers about 19 samples of 20.
    """
    return 2.0 * (_BINS - 1) * (1 / reference.size + 1 / current.size)


def _edges(reference: Column) -> Column:
    """Return the deciles, and just above the highest value, so that what lies outside on either side has a bin."""
    values = np.asarray(reference.ravel()[:: max(1, reference.size // _SAMPLE)], np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return np.zeros(1)
    return np.unique([*np.quantile(values, np.linspace(0, 1, _BINS + 1)), np.nextafter(values.max(), np.inf)])

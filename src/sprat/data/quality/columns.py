"""Column by column: missing, not finite, outlying, constant, nearly constant, doubled."""

from __future__ import annotations

from typing import Final

import numpy as np

from sprat.data import columns
from sprat.data.quality.finding import Code, Finding, Severity
from sprat.data.quality.sample import some
from sprat.data.table import MISSING, Column, Table

NEAR_CONSTANT_SHARE: Final = 0.99
"""A column that holds one value in this share of its rows tells a model next to nothing."""
OUTLIER_Z: Final = 10.0
"""Robust z above which a value is told. The authors' 3.5 flags a tenth of any skewed sensor; ten finds the broken ones."""
OUTLIER_SHARE: Final = 0.01
"""Where more values than this lie far out, that is the column's shape and no fault."""
_NORMAL: Final = 0.6745
"""The 0.75 quantile of the normal distribution: makes the MAD comparable with a standard deviation."""
_SAMPLE: Final = 200_000
_CHUNK: Final = 1_000_000


def examine(table: Table) -> list[Finding]:
    """Return findings in the order of the columns."""
    findings: list[Finding] = []
    seen: dict[str, str] = {}
    for name, column in table.items():
        findings += _missing(name, column) or _values(name, column)
        twin = seen.setdefault(columns.digest(column), name)
        if twin != name:
            findings.append(Finding(name, Code.DOUBLED, f"{name} is a copy of {twin}"))
    return findings


def robust_z(column: Column) -> tuple[float, float]:
    """Return median and scale, so that (x - median) / scale is the robust z; the scale is 0 where most values are equal.

    z = 0.6745 (x - median) / MAD, where MAD is the median of |x - median| (Iglewicz and Hoaglin, How to Detect and
    Handle Outliers, 1993). Both are taken from at most 200,000 values.
    """
    values = np.asarray(column.reshape(-1)[some(np.arange(column.size), _SAMPLE)], np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 0.0
    median = float(np.median(values))
    return median, float(np.median(np.abs(values - median))) / _NORMAL


def _missing(name: str, column: Column) -> list[Finding]:
    if column.dtype.kind == "f":
        bad = int(np.sum(~np.isfinite(column)))
    elif column.dtype.kind == "U":
        bad = int(np.sum(np.isin(np.char.lower(np.char.strip(column)), list(MISSING))))
    else:
        return []
    if not bad:
        return []
    if bad == column.size:
        return [Finding(name, Code.MISSING, f"{name} has no value in any row", Severity.ERROR)]
    found = [Finding(name, Code.MISSING, f"{name} has {bad} of {column.size} values that are missing or not finite")]
    return found if column.dtype.kind == "U" else found + _outliers(name, column)


def _values(name: str, column: Column) -> list[Finding]:
    if column.ndim == 1 and bool(np.all(column == column[0])):
        return [Finding(name, Code.CONSTANT, f"{name} is {column[0]} in every row")]
    return _near_constant(name, column) + _outliers(name, column)


def _near_constant(name: str, column: Column) -> list[Finding]:
    if column.ndim > 1:
        return []
    values, counts = np.unique(column[some(np.arange(len(column)), _SAMPLE)], return_counts=True)
    share = counts.max() / counts.sum()
    if share < NEAR_CONSTANT_SHARE:
        return []
    return [Finding(name, Code.NEAR_CONSTANT, f"{name} is {values[counts.argmax()]} in {share:.1%} of the rows")]


def _outliers(name: str, column: Column) -> list[Finding]:
    """Count them in every row, not in a sample: the one broken reading is what is looked for."""
    if column.dtype.kind not in "iuf" or column.dtype.itemsize == 1:  # pixels and classes have no outliers
        return []
    median, scale = robust_z(column)
    if scale == 0:
        return []
    values = column.reshape(-1)
    count, worst, place = 0, 0.0, 0
    for start in range(0, values.size, _CHUNK):
        z = np.abs(np.asarray(values[start : start + _CHUNK], np.float64) - median) / scale
        z[~np.isfinite(z)] = 0.0
        count += int(np.sum(z > OUTLIER_Z))
        if z.max() > worst:
            worst, place = float(z.max()), start + int(z.argmax())
    if not 0 < count <= OUTLIER_SHARE * values.size:
        return []
    row = place // (column.size // len(column))
    return [
        Finding(
            name, Code.OUTLIERS,
            f"{name} has {count} outliers, such as {values[place]:g} in row {row} (median {median:g}, robust z {worst:.0f})",
        )
    ]  # fmt: skip

"""Row by row: copies, copies that contradict each other, and what one part of the split knows of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from sprat.data import distribution, split
from sprat.data.quality import sample
from sprat.data.quality.finding import Code, Finding, Severity
from sprat.data.quality.sample import Array
from sprat.data.split import Rows

DUPLICATE_SHARE: Final = 0.01
"""From this share of the rows on, copies are told."""
NEAR: Final = 0.01
"""Rows this close (root mean square over the columns, in standard deviations) are one observation twice."""
NEAR_SHARE: Final = 0.05
"""From this share of the test rows on, near copies in the training rows are told."""
MIN_CALIBRATION: Final = 2
FEW_CALIBRATION: Final = 32
"""Below this many rows, the ranges that int8 is fitted to are a guess."""
_TEST: Final = 512
_TRAIN: Final = 4096
_MIN_WIDTH: Final = 3
"""In one or two columns, neighbours are close by nature."""


def examine_rows(digests: Sequence[bytes], labels: Array | None) -> list[Finding]:
    """Return what equal rows say: how many there are, and whether their labels agree."""
    _values, place, counts = np.unique(np.frombuffer(b"".join(digests), "V16"), return_inverse=True, return_counts=True)
    copies = int(np.sum(counts - 1))
    findings = []
    if copies >= DUPLICATE_SHARE * len(digests):
        findings.append(Finding("rows", Code.DUPLICATES, f"{copies} of {len(digests)} rows are copies of another"))
    if labels is not None and copies:
        low, high = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
        flat = labels.reshape(len(labels), -1)[:, 0]
        np.minimum.at(low, place, flat)
        np.maximum.at(high, place, flat)
        if against := int(np.sum(counts[low < high])):
            findings.append(Finding("rows", Code.CONTRADICTING, f"{against} rows equal another that has another label"))
    return findings


def examine_parts(inputs: Mapping[str, Array], rows: Mapping[str, Rows], digests: Sequence[bytes]) -> list[Finding]:
    """Return leakage between the parts, drift from the training to the test rows, and too few rows to calibrate with."""
    findings = _calibration(len(rows["calibration"]))
    if shared := split.shared_rows(rows, digests):
        findings.append(Finding("rows", Code.LEAKAGE, f"{shared} rows have an exact copy in another part of the split"))
    findings += _near_copies(inputs, rows, digests)
    return findings


def drift(name: str, train: Array, test: Array) -> list[Finding]:
    """Return a finding where the test rows of a column lie elsewhere than its training rows."""
    found = distribution.shift(train, test)
    if found <= distribution.SHIFT + distribution.noise(train, test):
        return []
    return [Finding(name, Code.DRIFT, f"{name} differs between training and test rows (PSI {found:.2f})")]


def _calibration(count: int) -> list[Finding]:
    said = f"the calibration part has {count} row{'s' if count > 1 else ''}"
    if count < MIN_CALIBRATION:
        return [
            Finding("rows", Code.CALIBRATION, f"{said}, expected {FEW_CALIBRATION}; raise its share", Severity.ERROR)
        ]
    if count < FEW_CALIBRATION:
        return [Finding("rows", Code.CALIBRATION, f"{said}; ranges for int8 are better taken from {FEW_CALIBRATION}")]
    return []


def _near_copies(inputs: Mapping[str, Array], rows: Mapping[str, Rows], digests: Sequence[bytes]) -> list[Finding]:
    width = sample.width(inputs)
    if not sample.numeric(inputs) or width < _MIN_WIDTH:
        return []
    known = {digests[row] for row in rows["train"]}
    test = sample.some(np.asarray([row for row in rows["test"] if digests[row] not in known]), _TEST, width=width)
    if not len(test):
        return []
    train = sample.flat(inputs, sample.some(rows["train"], _TRAIN, width=width))
    gaps = sample.distances(sample.scaled(sample.flat(inputs, test), train), sample.scaled(train, train))
    near = int(np.sum(gaps.min(axis=1) < NEAR))
    if near < NEAR_SHARE * len(test):
        return []
    return [
        Finding("rows", Code.NEAR_LEAKAGE, f"{near} of {len(test)} test rows looked at are all but equal to a training row; "
                'split by groups, blocks or time')
    ]  # fmt: skip

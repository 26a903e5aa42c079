"""Data checks: what is missing, constant, doubled or out of balance; findings for people, errors only where nothing can go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sprat.data.table import Column, Table

RARE_SHARE: Final = 0.02
"""A class below this share of the rows is called rare."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation about one column: a code and the sentence."""

    column: str
    code: str
    sentence: str


def examine(table: Table) -> list[Finding]:
    """Return findings in the order of the columns."""
    findings: list[Finding] = []
    seen: dict[bytes, str] = {}
    for name, column in table.items():
        findings += _examine_column(name, column)
        twin = seen.setdefault(np.ascontiguousarray(column).tobytes(), name)
        if twin != name:
            findings.append(Finding(name, "doubled", f"{name} is a copy of {twin}"))
    return findings


def balance(labels: Column, names: tuple[str, ...]) -> list[Finding]:
    """Return a finding for each class that is absent or rare."""
    counts = np.bincount(np.asarray(labels, np.int64), minlength=len(names))
    return [
        Finding("labels", "rare-class", f"class {name!r} has {count} of {len(labels)} rows")
        for name, count in zip(names, counts, strict=True)
        if count < RARE_SHARE * len(labels)
    ]


def _examine_column(name: str, column: Column) -> list[Finding]:
    findings = []
    if column.dtype.kind == "f" and (bad := int(np.sum(~np.isfinite(column)))):
        findings.append(Finding(name, "missing", f"{name} has {bad} values that are missing or not finite"))
    if column.ndim == 1 and len(np.unique(column)) == 1:
        findings.append(Finding(name, "constant", f"{name} is {column[0]} in every row"))
    return findings

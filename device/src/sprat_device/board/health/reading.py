"""Reads the kernel's small text files; whatever a board does not tell is left out, never guessed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

Values = Mapping[str, float | str]
Probe = Callable[[], Values]
KIB: Final = 1024
_ABSENT: Final = (OSError, ValueError, IndexError, KeyError, ZeroDivisionError)
"""What a kernel, board or container that does not tell looks like."""


_MOST: Final = 2**53
"""Beyond it JSON's numbers are not whole."""


def sampled(probes: Iterable[Probe]) -> dict[str, float | str]:
    """Return what the probes tell; one that cannot tells nothing."""
    found: dict[str, float | str] = {}
    for probe in probes:
        try:
            found |= probe()
        except _ABSENT:
            continue
    return {
        name: value if isinstance(value, str) else _short(value) for name, value in found.items() if _is_sane(value)
    }


def text(path: Path) -> str:
    """Return a file's text without its end of line."""
    return path.read_text(encoding="ascii", errors="replace").strip()


def table(path: Path) -> dict[str, int]:
    """Return the numbers of a file of `name: value unit` lines."""
    rows = (line.split() for line in text(path).splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _is_sane(value: float | str) -> bool:
    """Tell whether a record can hold it: a driver's defect must not cost the whole frame."""
    return isinstance(value, str) or (math.isfinite(value) and abs(value) < _MOST)


def _short(value: float) -> float:
    return value if isinstance(value, int) else round(value, 3)

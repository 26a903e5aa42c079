"""Resident memory of this process, in KiB, as Linux counts it.

Not `getrusage`: its maximum survives exec, so a small child of a large parent would report the parent's.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")


def resident_kib() -> int:
    """Return what is resident now."""
    return _field("VmRSS")


def peak_kib() -> int:
    """Return the highest that was ever resident, since `reset_peak` if the kernel allows that."""
    return _field("VmHWM")


def reset_peak() -> None:
    """Let the peak begin anew (some containers forbid it; then the peak stays that of the whole process)."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def _field(name: str) -> int:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)

"""Resident memory of a process, in KiB, as Linux counts it.

Not `getrusage`: its maximum survives exec, so a small child of a large parent would report the parent's.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")


def resident_kib(pid: int | None = None) -> int:
    """Return what is resident now of this process, or of another; 0 for one that has just ended."""
    if pid is None:
        return _own("VmRSS")
    try:
        return _field(Path(f"/proc/{pid}/status"), "VmRSS")
    except OSError:
        return 0


def peak_kib() -> int:
    """Return the highest that was ever resident, since `reset_peak` if the kernel allows that."""
    return _own("VmHWM")


def reset_peak() -> None:
    """Let the peak begin anew (some containers forbid it; then the peak stays that of the whole process)."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def _own(name: str) -> int:
    try:
        return _field(_STATUS, name)
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _field(status: Path, name: str) -> int:
    lines = status.read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)

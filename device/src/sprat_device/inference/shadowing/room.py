"""Whether the machine has memory to spare."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")


def has_room(size: int, *, meminfo: Path = _MEMINFO) -> bool:
    """Tell whether so many bytes are available; a kernel that does not tell is taken to have them."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        available_kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return True
    return available_kib * 1024 >= size

"""Whether there is memory to spare: on the machine, and below the limits of the service that the agent is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MIB: Final = 1024 * 1024
_LIMITS: Final = ("memory.high", "memory.max")
"""Beyond the first the kernel slows all of the service down, the agent too; beyond the second it ends a process."""


def lacking(size: int, *, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> str:
    """Return why so many bytes must not be taken, empty where they may; a kernel that does not tell has them."""
    machine = _available(proc / "meminfo")
    if machine is not None and machine < size:
        return (
            f"the machine has {machine // _MIB} MiB free, the shadow may take {size // _MIB}; see shadow.memory_bytes"
        )
    service = min(_left(proc / "self/cgroup", cgroups), default=size)
    if service < size:
        return (
            f"the service's memory limit leaves {max(0, service) // _MIB} MiB, the shadow may take {size // _MIB}; "
            "see shadow.memory_bytes and --memory-max-mib"
        )
    return ""


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _left(own: Path, cgroups: Path) -> Iterator[int]:
    """Yield what each limit above this process leaves; only version 2 of the kernel's control groups is read."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("0::/"):
            folder = cgroups / line.removeprefix("0::/")
            for group in (folder, *(above for above in folder.parents if above.is_relative_to(cgroups))):
                yield from _left_of(group)


def _left_of(group: Path) -> Iterator[int]:
    for name in _LIMITS:
        try:
            limit = int((group / name).read_text(encoding="ascii"))
            held = int((group / "memory.current").read_text(encoding="ascii"))
            stat = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            continue  # no limit (`max`), or a kernel that does not count memory by groups
        # Files that were read long ago are given back before anybody suffers.
        idle = next((int(line.split()[1]) for line in stat if line.startswith("inactive_file ")), 0)
        yield limit - (held - idle)

"""What a process takes, as the kernel tells it."""

from __future__ import annotations

from pathlib import Path


def memory_mib(pid: int, *names: str) -> float:
    """Return the sum of such fields as `Rss` or `Private_Dirty` of a process in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return sum(fields[name] for name in names) / 1024


def private_mib(pid: int) -> float:
    """Return what a process has for itself alone: unlike its share of libraries, that is no other process's doing."""
    return memory_mib(pid, "Private_Clean", "Private_Dirty")

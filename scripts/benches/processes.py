"""What a process takes, as the kernel tells it."""

from __future__ import annotations

from pathlib import Path


def memory_mib(pid: int, field: str) -> float:
    """Return `Pss` or `Rss` of a process in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup: no {field}")

"""What a process takes, as the kernel tells it, and an agent run as its systemd unit runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNIT = {"PYTHONOPTIMIZE": "2", "MALLOC_ARENA_MAX": "1"}


def memory_mib(pid: int, *names: str) -> float:
    """Return the sum of such fields as `Rss` or `Private_Dirty` of a process in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return sum(fields[name] for name in names) / 1024


def allocated_mib(pid: int) -> float:
    """Return what a process has allocated; a neighbour that maps the same libraries, or ends, does not move it."""
    return memory_mib(pid, "Anonymous", "Swap")


@contextmanager
def as_its_unit_runs_it(python: Path, bytecode: Path) -> Iterator[None]:
    """Start agents within with what the unit sets, and with the bytecode that a board's set-up makes."""
    before = dict(os.environ)
    os.environ |= UNIT | {"PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONDONTWRITEBYTECODE": ""}
    try:
        subprocess.run([python, "-m", "compileall", "-q", python.parents[1] / "lib"], check=True)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

"""The disk of the state folder: what is free, and what was written to it since boot (a card bears only so much)."""

from __future__ import annotations

import os
from pathlib import Path

from sprat_device.board.health.reading import KIB, Probe, Values, text

_SECTOR: int = 512
"""Whatever the disk's own are (Documentation/block/stat.rst)."""


class Storage:
    """Asks the file system, and the block device under it where the kernel shows one."""

    def __init__(self, state: Path, sys: Path) -> None:
        self._state = state
        self._counters = _counters(state, sys)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what there is to read."""
        return (self._room, self._written)

    def _room(self) -> Values:
        facts = os.statvfs(self._state)
        return {
            "disk_free_kib": facts.f_bavail * facts.f_frsize // KIB,
            "disk_total_kib": facts.f_blocks * facts.f_frsize // KIB,
        }

    def _written(self) -> Values:
        if self._counters is None:
            return {}
        return {"disk_written_kib": int(text(self._counters).split()[6]) * _SECTOR // KIB}


def _counters(state: Path, sys: Path) -> Path | None:
    try:
        device = state.stat().st_dev
    except OSError:
        return None
    path = sys / f"dev/block/{os.major(device)}:{os.minor(device)}/stat"
    # None for memory, overlays and networks, nor where /sys is hidden; not `Path.exists`, which raises what is forbidden.
    return path if os.path.exists(path) else None  # noqa: PTH110

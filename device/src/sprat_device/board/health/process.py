"""The agent's own process: its memory and its threads."""

from __future__ import annotations

from pathlib import Path

from sprat_device.board.health.reading import Probe, Values, table


class Process:
    """Reads /proc/self."""

    def __init__(self, proc: Path) -> None:
        self._self = proc / "self"

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what there is to read."""
        return (self._status, self._shared)

    def _status(self) -> Values:
        found = table(self._self / "status")
        names = (("rss_kib", "VmRSS"), ("swapped_kib", "VmSwap"), ("threads", "Threads"))
        return {name: found[kernel] for name, kernel in names if kernel in found}

    def _shared(self) -> Values:
        """Return what is left when shared pages are split among those that share them."""
        return {"pss_kib": table(self._self / "smaps_rollup")["Pss"]}

"""One sample of everything: the detail of a health record, flat, numbers and short texts."""

from __future__ import annotations

from pathlib import Path

from sprat_device.board.health.heat import Heat
from sprat_device.board.health.machine import Machine
from sprat_device.board.health.network import Network
from sprat_device.board.health.process import Process
from sprat_device.board.health.reading import Probe, sampled
from sprat_device.board.health.storage import Storage


class Health:
    """Samples how the machine and the agent do; shares of the processor are over the time since the last sample."""

    def __init__(self, state: Path, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        parts = (Machine(proc, sys), Process(proc), Storage(state, sys), Heat(sys), Network(proc))
        self._probes: tuple[Probe, ...] = tuple(probe for part in parts for probe in part.probes)
        self.sample()

    def sample(self) -> dict[str, float | str]:
        """Return what this board tells; docs/daemon.md names every field."""
        return sampled(self._probes)

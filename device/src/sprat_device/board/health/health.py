"""One sample of everything: the detail of a health record, flat, numbers and short texts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sprat_device.board.health.heat import Heat
from sprat_device.board.health.machine import Machine
from sprat_device.board.health.network import Network
from sprat_device.board.health.process import Process
from sprat_device.board.health.reading import Probe, sampled
from sprat_device.board.health.storage import Storage

_STANDING: Final = ("disk_free_kib", "temperature_c", "power_now", "power_since_boot")


class Health:
    """Samples how the machine and the agent do; shares of the processor are over the time since the last sample."""

    def __init__(self, state: Path, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        storage, heat = Storage(state, sys), Heat(sys)
        parts = (Machine(proc, sys), Process(proc), storage, heat, Network(proc))
        self._of_now = (*storage.probes, *heat.probes)
        self._probes: tuple[Probe, ...] = tuple(probe for part in parts for probe in part.probes)
        self.sample()

    def sample(self) -> dict[str, float | str]:
        """Return what this board tells; docs/daemon.md names every field."""
        return sampled(self._probes)

    def standing(self) -> dict[str, float | str]:
        """Return the few fields that the reported twin repeats, with no share of the processor disturbed."""
        found = sampled(self._of_now)
        return {name: found[name] for name in _STANDING if name in found}

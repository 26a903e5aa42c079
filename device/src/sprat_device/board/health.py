"""What the machine is and how it does; whatever a board does not tell is left out, never guessed."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

_KIB: Final = 1024


def facts(state: Path, *, runtimes: Mapping[str, str], agent: str) -> dict[str, object]:
    """Return what seldom changes: the `facts` of the reported twin."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "arch": platform.machine(),
        "cores": os.cpu_count() or 1,
        "ram_kib": pages // _KIB,
        "disk_free_kib": shutil.disk_usage(state).free // _KIB,
        "runtimes": dict(runtimes),
        "python": platform.python_version(),
        "agent": agent,
    }


class Health:
    """Samples how the machine and the agent do; CPU shares are over the time since the last sample."""

    def __init__(self, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._proc = proc
        self._sys = sys
        self._last_cpu: tuple[int, int] | None = None
        self.sample()

    def sample(self) -> dict[str, float]:
        """Return what this board tells, of: cpu, ram_free_kib, rss_kib, pss_kib, temperature_c, throttled, uptime_s."""
        known: dict[str, Callable[[], float | None]] = {
            "cpu": self._cpu,
            "ram_free_kib": lambda: _field(self._proc / "meminfo", "MemAvailable:"),
            "rss_kib": lambda: _field(self._proc / "self/status", "VmRSS:"),
            "pss_kib": lambda: _field(self._proc / "self/smaps_rollup", "Pss:"),
            "temperature_c": lambda: int(_text(self._sys / "class/thermal/thermal_zone0/temp")) / 1000,
            # Raspberry Pi firmware: bit 0 undervoltage, 1 frequency capped, 2 throttled; the high half is since boot.
            "throttled": lambda: int(_text(self._sys / "devices/platform/soc/soc:firmware/get_throttled"), 16),
            "uptime_s": lambda: float(_text(self._proc / "uptime").split()[0]),
        }
        sampled = {name: _or_none(read) for name, read in known.items()}
        return {name: round(value, 3) for name, value in sampled.items() if value is not None}

    def _cpu(self) -> float | None:
        ticks = [int(part) for part in _text(self._proc / "stat").splitlines()[0].split()[1:9]]
        idle, total = ticks[3] + ticks[4], sum(ticks)
        before, self._last_cpu = self._last_cpu, (idle, total)
        if before is None or total <= before[1]:
            return None
        return 1 - (idle - before[0]) / (total - before[1])


def _or_none(read: Callable[[], float | None]) -> float | None:
    try:
        return read()
    except (OSError, ValueError, IndexError):
        return None  # this kernel, board or container does not tell


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _field(path: Path, name: str) -> float | None:
    for line in _text(path).splitlines():
        if line.startswith(name):
            return float(line.split()[1])
    return None

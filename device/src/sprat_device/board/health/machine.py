"""The machine: processor, load, memory, swap, how long it has been up."""

from __future__ import annotations

from pathlib import Path

from sprat_device.board.health.reading import KIB, Probe, Values, table, text


class Machine:
    """Reads /proc; shares of the processor are over the time since the last sample."""

    def __init__(self, proc: Path, sys: Path) -> None:
        self._proc = proc
        self._zrams = sorted(sys.glob("block/zram*/mm_stat"))
        self._last: tuple[int, int, int] | None = None

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what there is to read."""
        return (self._processor, self._load, self._memory, self._swap, self._zram, self._uptime)

    def _processor(self) -> Values:
        """Return the share of all cores that was busy, and the agent's share of them, its children included."""
        ticks = [int(part) for part in text(self._proc / "stat").splitlines()[0].split()[1:9]]
        idle, total = ticks[3] + ticks[4], sum(ticks)
        own = self._own_ticks()
        before, self._last = self._last, (idle, total, own)
        if before is None or total <= before[1]:
            return {}
        # The kernel's counts of idle time may step back (proc_stat(5)).
        share = {"cpu": min(1.0, max(0.0, 1 - (idle - before[0]) / (total - before[1])))}
        return share | ({"agent_cpu": (own - before[2]) / (total - before[1])} if own else {})

    def _own_ticks(self) -> int:
        try:
            # The name may hold spaces and brackets: fields count from the last bracket (proc_pid_stat(5)).
            fields = text(self._proc / "self/stat").rpartition(")")[2].split()
            return sum(int(field) for field in fields[11:15])
        except (OSError, ValueError):
            return 0

    def _load(self) -> Values:
        one, five = text(self._proc / "loadavg").split()[:2]
        return {"load_1": float(one), "load_5": float(five)}

    def _memory(self) -> Values:
        found = table(self._proc / "meminfo")
        names = (("ram_free_kib", "MemAvailable"), ("ram_total_kib", "MemTotal"))
        return {name: found[kernel] for name, kernel in names if kernel in found}

    def _swap(self) -> Values:
        found = table(self._proc / "meminfo")
        total = found["SwapTotal"]
        return {"swap_total_kib": total, "swap_used_kib": total - found["SwapFree"]} if total else {}

    def _zram(self) -> Values:
        """Return what compressed swap holds, and the memory that it takes for that (zram.rst of the kernel)."""
        rows = [[int(field) for field in text(path).split()] for path in self._zrams]
        held, taken = sum(row[0] for row in rows), sum(row[2] for row in rows)
        return {"zram_held_kib": held // KIB, "zram_taken_kib": taken // KIB} if held else {}

    def _uptime(self) -> Values:
        return {"uptime_s": float(text(self._proc / "uptime").split()[0])}

"""Does it fit flash, memory and latency of the target? Each limit that breaks says by how much."""

from __future__ import annotations

from dataclasses import dataclass

from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.target import Target


@dataclass(frozen=True, slots=True)
class Need:
    """What a candidate takes: bytes of its bundle, KiB of memory above the runtime's floor, p50 latency in us."""

    bundle_bytes: int
    memory_kib: int
    latency_us: float
    where: str = ""
    """Where memory and latency were measured, for the sentences."""


@dataclass(frozen=True, slots=True)
class Break:
    """One limit that a candidate breaks; `excess` is 0.5 for half as much again as allowed."""

    code: GateCode
    sentence: str
    excess: float


def breaks(need: Need, target: Target, *, max_latency_us: float = 0.0) -> tuple[Break, ...]:
    """Return the limits of the target, and the recipe's own for latency, that do not hold; 0 means no limit."""
    latency = min((limit for limit in (float(target.latency_us), max_latency_us) if limit), default=0.0)
    on = f" on {need.where}" if need.where else ""
    asked = (
        (GateCode.OVER_FLASH, "bundle", need.bundle_bytes / 1024, float(target.bundle_kib), "KiB"),
        (GateCode.OVER_RAM, "memory", float(need.memory_kib), float(target.memory_kib), f"KiB{on}"),
        (GateCode.OVER_LATENCY, "p50 latency", need.latency_us, latency, f"us{on}"),
    )
    return tuple(
        Break(
            code,
            f"{what} {found:.1f} {unit}, {target.name} allows {limit:g} {unit.split()[0]} ({found / limit - 1:+.0%})",
            found / limit - 1,
        )
        for code, what, found, limit, unit in asked
        if limit and found > limit
    )

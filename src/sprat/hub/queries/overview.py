"""What an operator sees in five seconds: is anything broken and since when, what is under way, which release is where."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from sprat.hub.queries.board import DeviceRow, Fleet
from sprat.hub.queries.health import Finding, Health

NAMED: Final = 6
_CALM: Final = frozenset({Health.HEALTHY, Health.WAITING})


@dataclass(frozen=True, slots=True)
class RunningShare:
    """How many devices run one release of a model; release 0 stands for none."""

    release_seq: int
    devices: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong, and every device that has it."""

    first: Finding
    rows: tuple[DeviceRow, ...]
    since_us: int

    @property
    def named(self) -> tuple[DeviceRow, ...]:
        """Return the devices that a list names; the rest is a link."""
        return self.rows[:NAMED]


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole fleet in a few numbers."""

    total: int
    online: int
    counts: dict[Health, int]
    attention: tuple[Trouble, ...]
    attention_since_us: int
    running: tuple[tuple[str, tuple[RunningShare, ...]], ...]

    @property
    def attention_devices(self) -> int:
        """Return how many devices are in trouble; one that was never seen is expected to come."""
        return sum(count for health, count in self.counts.items() if health not in _CALM)


def overview(fleet: Fleet) -> Overview:
    """Sum up the fleet."""
    return Overview(
        total=len(fleet.rows),
        online=sum(row.device.online for row in fleet.rows),
        counts={health: fleet.counts[health] for health in Health},
        attention=_attention(fleet),
        attention_since_us=min(
            (finding.since_us for row in fleet.rows for finding in row.findings if finding.health not in _CALM),
            default=0,
        ),
        running=_running(fleet),
    )


def _attention(fleet: Fleet) -> tuple[Trouble, ...]:
    groups: dict[tuple[str, str, str], list[tuple[DeviceRow, Finding]]] = defaultdict(list)
    for row in fleet.rows:
        for finding in row.findings:
            groups[finding.code, finding.model, finding.phase].append((row, finding))
    found = [
        Trouble(pairs[0][1], tuple(row for row, _ in pairs), min(finding.since_us for _, finding in pairs))
        for pairs in groups.values()
    ]
    # What was refused or undone names a mistake of ours: it stands before devices that are merely away.
    found.sort(key=lambda one: (not one.first.phase, list(Health).index(one.first.health), one.first.code))
    return tuple(found)


def _running(fleet: Fleet) -> tuple[tuple[str, tuple[RunningShare, ...]], ...]:
    devices: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in fleet.rows:
        for state in row.models:
            devices[state.model][state.running.release_seq if state.running else 0] += 1
    return tuple(
        (model, tuple(RunningShare(seq, shares[seq]) for seq in sorted(shares, reverse=True)))
        for model, shares in sorted(devices.items())
    )

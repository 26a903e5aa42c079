"""What an operator sees in five seconds: is anything broken and since when, what is under way, which release is where."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from sprat.hub.queries.board import DeviceRow, Fleet
from sprat.hub.queries.health import Finding, Health

SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class RunningShare:
    """How many devices run one release of a model; release 0 stands for none."""

    release_seq: int
    devices: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole fleet in a few numbers."""

    total: int
    online: int
    counts: dict[Health, int]
    attention: tuple[tuple[DeviceRow, Finding], ...]
    attention_since_us: int
    running: tuple[tuple[str, tuple[RunningShare, ...]], ...]

    @property
    def attention_devices(self) -> int:
        """Return how many devices have a finding."""
        return len({row.id for row, _ in self.attention})

    @property
    def shown(self) -> tuple[tuple[DeviceRow, Finding], ...]:
        """Return the first findings, the worst and newest first."""
        return self.attention[:SHOWN]


def overview(fleet: Fleet) -> Overview:
    """Sum up the fleet."""
    found = [(row, finding) for row in fleet.rows for finding in row.findings]
    # What was refused or undone names a mistake of ours: it stands before devices that are merely away.
    found.sort(key=lambda pair: (not pair[1].phase, list(Health).index(pair[1].health), -pair[1].since_us, pair[0].id))
    return Overview(
        total=len(fleet.rows),
        online=sum(row.device.online for row in fleet.rows),
        counts={health: fleet.counts[health] for health in Health},
        attention=tuple(found),
        attention_since_us=min((finding.since_us for _, finding in found if finding.since_us), default=0),
        running=_running(fleet),
    )


def _running(fleet: Fleet) -> tuple[tuple[str, tuple[RunningShare, ...]], ...]:
    devices: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in fleet.rows:
        for state in row.models:
            devices[state.model][state.running.release_seq if state.running else 0] += 1
    return tuple(
        (model, tuple(RunningShare(seq, shares[seq]) for seq in sorted(shares, reverse=True)))
        for model, shares in sorted(devices.items())
    )

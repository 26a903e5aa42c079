"""Rollouts as an operator follows them: waves, each gate's value against its threshold, and every device with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sprat.hub.store.rollout_values import GateValue, Member, MemberStatus, Rollout
from sprat.hub.store.rollout_values import Wave as WaveSpec
from sprat_device.contract.phases import RolloutPhase


class Progress(StrEnum):
    """Where a device stands in a rollout, in the four ways that a bar colours."""

    GOOD = "good"
    WORKING = "working"
    FAILED = "failed"
    WAITING = "waiting"


PROGRESS: Final = {
    MemberStatus.PENDING: Progress.WAITING,
    MemberStatus.WAITING: Progress.WAITING,
    MemberStatus.OFFERED: Progress.WORKING,
    MemberStatus.DONE: Progress.GOOD,
    MemberStatus.FAILED: Progress.FAILED,
    MemberStatus.UNFIT: Progress.FAILED,
    MemberStatus.SUPERSEDED: Progress.WAITING,
    MemberStatus.LEFT: Progress.WAITING,
}
UNDER_WAY: Final = frozenset({RolloutPhase.DRAFT, RolloutPhase.RUNNING, RolloutPhase.PAUSED})


@dataclass(frozen=True, slots=True)
class GateRow:
    """One gate as people read it; `crossed` None means nothing to measure yet."""

    name: str
    meaning: str
    value: float | None
    threshold: float
    crossed: bool | None
    accepted: bool

    @property
    def is_ratio(self) -> bool:
        """Tell whether value and threshold are ratios, not shares."""
        return "ratio" in self.name


_MEANINGS: Final = {
    "failed-share": "devices that failed, of those in the waves so far",
    "error-share": "inputs that became no prediction",
    "p95-ratio": "p95 latency against the bundles that ran before",
}


@dataclass(frozen=True, slots=True)
class WaveView:
    """One stage and the devices in it."""

    name: str
    state: str
    counts: Counter[Progress]
    superseded: int = 0
    """How many of them a rollout that started later has: what they did in this one is not told any more."""

    @property
    def total(self) -> int:
        """Return how many devices the wave addresses."""
        return self.counts.total()

    @property
    def good(self) -> int:
        """Return how many devices are done."""
        return self.counts[Progress.GOOD]

    @property
    def failed(self) -> int:
        """Return how many devices failed."""
        return self.counts[Progress.FAILED]


@dataclass(frozen=True, slots=True)
class RolloutView:
    """One rollout with everything that its page shows."""

    rollout: Rollout
    waves: tuple[WaveView, ...]
    gates: tuple[GateRow, ...]
    members: tuple[Member, ...]
    """The worst first."""

    @property
    def under_way(self) -> bool:
        """Tell whether it can still change."""
        return self.rollout.phase in UNDER_WAY

    @property
    def done(self) -> int:
        """Return how many devices keep the release when the rollout is aborted."""
        return sum(member.status is MemberStatus.DONE for member in self.members)

    @property
    def unfinished(self) -> int:
        """Return from how many devices an abort takes the offer back."""
        open_ = {MemberStatus.WAITING, MemberStatus.OFFERED, MemberStatus.FAILED}
        return sum(member.status in open_ for member in self.members)

    @property
    def deadline_us(self) -> int:
        """Return when the wave must be done; 0 while none runs."""
        began = self.rollout.wave_began_us
        return began + self.rollout.spec.deadline_s * 1_000_000 if began and self.under_way else 0

    @property
    def failures(self) -> tuple[tuple[str, int], ...]:
        """Return the reason codes of failed devices, the most frequent first."""
        failed = (member.reason for member in self.members if PROGRESS[member.status] is Progress.FAILED)
        return tuple(Counter(failed).most_common())


def rollout_view(rollout: Rollout) -> RolloutView:
    """Put one rollout together for a reader."""
    order = (Progress.FAILED, Progress.WORKING, Progress.WAITING, Progress.GOOD)
    members = sorted(rollout.members.values(), key=lambda m: (order.index(PROGRESS[m.status]), m.wave, m.device))
    counts: dict[int, Counter[Progress]] = {index: Counter() for index in range(len(rollout.spec.waves))}
    for member in members:
        counts.setdefault(member.wave, Counter())[PROGRESS[member.status]] += 1
    superseded = Counter(member.wave for member in members if member.status is MemberStatus.SUPERSEDED)
    waves = tuple(
        WaveView(wave_name(index, wave), _wave_state(rollout, index), counts[index], superseded[index])
        for index, wave in enumerate(rollout.spec.waves)
    )
    return RolloutView(rollout, waves, tuple(_gate(rollout, gate) for gate in rollout.gates), tuple(members))


def wave_name(index: int, wave: WaveSpec) -> str:
    """Name a wave by its number and what it takes in."""
    if wave.percent:
        return f"wave {index + 1} · to {wave.percent:g} %"
    if wave.count:
        return f"wave {index + 1} · {wave.count} more"
    return f"wave {index + 1} · " + (wave.devices[0] if len(wave.devices) == 1 else f"{len(wave.devices)} named")


def _wave_state(rollout: Rollout, index: int) -> str:
    if rollout.phase is RolloutPhase.COMPLETED or index < rollout.wave:
        return "done"
    return "now" if index == rollout.wave and rollout.phase is not RolloutPhase.DRAFT else "later"


def _gate(rollout: Rollout, gate: GateValue) -> GateRow:
    return GateRow(
        name=gate.name,
        meaning=_MEANINGS.get(gate.name, ""),
        value=gate.value,
        threshold=gate.threshold,
        crossed=None if gate.value is None else gate.crossed,
        accepted=gate.name in rollout.accepted_gates,
    )

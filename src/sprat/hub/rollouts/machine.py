"""The rollout's state machine: draft -> running(wave n) <-> paused -> completed | aborted.

A pure `step(rollout, event, now)`; the caller persists the new state, then performs the effects, which are idempotent:
`standing(rollout)` gives all that the state implies, for a hub that was killed in between. Rules:

- a wave passes when every member that was seen is done or failed and no threshold is crossed; members that were not
  seen are waited for until the wave's deadline, and join whenever they return;
- nothing passes without evidence: at least one device, of this wave or an earlier one, must be done;
- who resumes accepts what had stopped it: the failures so far and the crossed gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sprat.errors import Refused
from sprat.hub.rollouts import gates
from sprat.hub.rollouts.cohort import takes_newcomers
from sprat.hub.rollouts.members import View, judge, offered
from sprat.hub.store.rollout_values import Member, MemberStatus, OnFailure, Rollout
from sprat_device.contract.phases import RolloutPhase

NO_EVIDENCE: Final = "no-evidence"
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Start:
    """Begin: `waves` places every device of the cohort that a wave reaches."""

    waves: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop where it is; devices that have not begun lose their offer until it goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on, with the deadline of the wave anew."""


@dataclass(frozen=True, slots=True)
class Abort:
    """End; every device that is not done loses its offer."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: `views` holds every device that belongs to the cohort now."""

    views: Mapping[str, View]
    signals: gates.Signals = field(default_factory=gates.Signals)


Event = Start | Pause | Resume | Abort | Tick


@dataclass(frozen=True, slots=True)
class OfferTo:
    """The device shall run its target's bundle."""

    device: str
    target: str
    bundle: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The device shall no longer be offered this rollout's release."""

    device: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that people want to read later."""

    code: str
    detail: str = ""


Effect = OfferTo | Withdraw | Note
Step = tuple[Rollout, tuple[Effect, ...]]


def step(rollout: Rollout, event: Event, now_us: int) -> Step:
    """Return the next state and what follows from it; an event that the phase does not allow is refused."""
    act = _TABLE.get((rollout.phase, type(event)))
    if act is None:
        verb = type(event).__name__.lower()
        raise Refused("rollout-phase", f"rollout {rollout.id} is {rollout.phase}: {verb} is not possible now")
    after, notes = act(rollout, event, now_us)
    if after != rollout:
        after = replace(after, changed_us=now_us)
    before = set(standing(rollout))
    return after, (*(effect for effect in standing(after) if effect not in before), *notes)


def standing(rollout: Rollout) -> tuple[Effect, ...]:
    """Return the offers that the state implies, one effect for each device whose wave has begun."""
    if rollout.phase is RolloutPhase.DRAFT:
        return ()
    return tuple(
        OfferTo(member.device, member.target, member.bundle)
        if _is_offered(rollout, member)
        else Withdraw(member.device)
        for member in rollout.in_waves_so_far()
        if member.status not in (MemberStatus.LEFT, MemberStatus.SUPERSEDED)
    )


def _is_offered(rollout: Rollout, member: Member) -> bool:
    if not member.bundle or member.status is MemberStatus.UNFIT:
        return False
    match rollout.phase:
        case RolloutPhase.ABORTED:
            return member.status is MemberStatus.DONE
        case RolloutPhase.PAUSED:
            return member.status is not MemberStatus.WAITING
        case _:
            return True


_Act = Callable[[Rollout, Event, int], tuple[Rollout, tuple[Note, ...]]]


def _start(rollout: Rollout, event: Event, now_us: int) -> tuple[Rollout, tuple[Note, ...]]:
    assert isinstance(event, Start)  # noqa: S101 - the table pairs them
    if not event.waves:
        raise Refused(
            "empty-cohort",
            f"rollout {rollout.id}: no device belongs to its waves; `sprat fleet list` shows who is here",
        )
    members = {device: Member(device, wave, since_us=now_us) for device, wave in event.waves.items()}
    started = replace(
        rollout, phase=RolloutPhase.RUNNING, members=members, wave=0, wave_began_us=now_us, started_us=now_us
    )
    where = f"{_plural(len(members), 'device')} in {_plural(len(rollout.spec.waves), 'wave')}"
    return started, (Note("started", where),)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _tick(rollout: Rollout, event: Event, now_us: int) -> tuple[Rollout, tuple[Note, ...]]:
    assert isinstance(event, Tick)  # noqa: S101 - the table pairs them
    watched, _ = _watch(rollout, event, now_us)
    crossed = [gate for gate in watched.gates if gate.crossed and gate.name not in rollout.accepted_gates]
    if crossed:
        reason = "; ".join(f"{gate.name} {gate.value:.4g} is above {gate.threshold:.4g}" for gate in crossed)
        return _fail(watched, reason)
    advanced, notes = _advance(watched, now_us)
    return _note_offers(advanced, event, now_us), notes


def _watch(rollout: Rollout, event: Event, now_us: int) -> tuple[Rollout, tuple[Note, ...]]:
    """Judge members and gates anew without going on: all that a paused or completed rollout does."""
    assert isinstance(event, Tick)  # noqa: S101 - the table pairs them
    members = dict(rollout.members)
    if takes_newcomers(rollout.spec.waves):
        last = len(rollout.spec.waves) - 1
        members |= {device: Member(device, last) for device in event.views if device not in members}
    judged = {name: judge(rollout, member, event.views.get(name), now_us) for name, member in members.items()}
    watched = replace(rollout, members=judged)
    values = gates.evaluate(rollout.spec.gates, watched.in_waves_so_far(), event.signals)
    return _note_offers(replace(watched, gates=values), event, now_us), ()


def _note_offers(rollout: Rollout, event: Tick, now_us: int) -> Rollout:
    """Note what the devices that are offered something from now on had shown of it before."""
    views = event.views
    members = {name: offered(rollout, member, views.get(name), now_us) for name, member in rollout.members.items()}
    return replace(rollout, members=members)


def _advance(rollout: Rollout, now_us: int) -> tuple[Rollout, tuple[Note, ...]]:
    here = [member.status for member in rollout.members.values() if member.wave == rollout.wave]
    if MemberStatus.OFFERED in here:
        return rollout, ()
    if MemberStatus.WAITING in here and now_us - rollout.wave_began_us <= rollout.spec.deadline_s * _SECOND_US:
        return rollout, ()
    evidence = any(member.status is MemberStatus.DONE for member in rollout.in_waves_so_far())
    if not evidence and any(status in (MemberStatus.WAITING, MemberStatus.FAILED) for status in here):
        return _fail(rollout, f"{NO_EVIDENCE}: no device of the waves so far is done")
    if rollout.wave + 1 < len(rollout.spec.waves):
        return replace(rollout, wave=rollout.wave + 1, wave_began_us=now_us), (
            Note("wave-passed", f"wave {rollout.wave + 1}"),
        )
    return replace(rollout, phase=RolloutPhase.COMPLETED), (Note("completed", _tally(rollout)),)


def _fail(rollout: Rollout, reason: str) -> tuple[Rollout, tuple[Note, ...]]:
    if rollout.spec.on_failure is OnFailure.ABORT:
        return replace(rollout, phase=RolloutPhase.ABORTED, reason=reason), (Note("aborted", reason),)
    return replace(rollout, phase=RolloutPhase.PAUSED, reason=reason), (Note("paused", reason),)


def _pause(rollout: Rollout, event: Event, _now_us: int) -> tuple[Rollout, tuple[Note, ...]]:
    assert isinstance(event, Pause)  # noqa: S101 - the table pairs them
    return replace(rollout, phase=RolloutPhase.PAUSED, reason=event.reason), (Note("paused", event.reason),)


def _resume(rollout: Rollout, _event: Event, now_us: int) -> tuple[Rollout, tuple[Note, ...]]:
    members = {name: _accept(member, now_us) for name, member in rollout.members.items()}
    crossed = {gate.name for gate in rollout.gates if gate.crossed and gate.name != gates.FAILED_SHARE}
    resumed = replace(
        rollout, phase=RolloutPhase.RUNNING, reason="", members=members, wave_began_us=now_us,
        accepted_gates=tuple(sorted(crossed.union(rollout.accepted_gates))),
    )  # fmt: skip
    return resumed, (Note("resumed", ", ".join(resumed.accepted_gates)),)


def _accept(member: Member, now_us: int) -> Member:
    match member.status:
        case MemberStatus.FAILED:
            return replace(member, accepted=True)
        case MemberStatus.OFFERED:
            return replace(member, since_us=now_us)
        case _:
            return member


def _abort(rollout: Rollout, event: Event, _now_us: int) -> tuple[Rollout, tuple[Note, ...]]:
    assert isinstance(event, Abort)  # noqa: S101 - the table pairs them
    return replace(rollout, phase=RolloutPhase.ABORTED, reason=event.reason), (Note("aborted", event.reason),)


def _tally(rollout: Rollout) -> str:
    statuses = [member.status for member in rollout.members.values()]
    return ", ".join(f"{statuses.count(status)} {status}" for status in MemberStatus if status in statuses)


_TABLE: Final[Mapping[tuple[RolloutPhase, type[Event]], _Act]] = {
    (RolloutPhase.DRAFT, Start): _start,
    (RolloutPhase.DRAFT, Abort): _abort,
    (RolloutPhase.RUNNING, Tick): _tick,
    (RolloutPhase.RUNNING, Pause): _pause,
    (RolloutPhase.RUNNING, Abort): _abort,
    (RolloutPhase.PAUSED, Tick): _watch,
    (RolloutPhase.PAUSED, Resume): _resume,
    (RolloutPhase.PAUSED, Abort): _abort,
    (RolloutPhase.COMPLETED, Tick): _watch,
}

"""Where each device of a rollout stands, judged anew from what it reports and what the hub stored of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sprat.hub.rollouts.cohort import Fit, Misfit
from sprat.hub.store.rollout_values import Member, MemberStatus, Rollout
from sprat_device.contract.phases import InstallPhase, Reason

DEADLINE: Final = "deadline"
_STOPPED: Final = (InstallPhase.REFUSED, InstallPhase.REVERTED)
_HOURS: Final = (Reason.OUTSIDE_WINDOW, Reason.DEFERRED)
"""A device that holds the bundle, checked, and may not begin yet is late through no fault of its own."""
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class View:
    """What the hub knows of one device of the cohort at this moment; `seen_us` is 0 for never."""

    fit: Fit | Misfit
    seen_us: int
    running: str = ""
    phase: InstallPhase = InstallPhase.IDLE
    install_bundle: str = ""
    install_seq: int = 0
    rollout: str = ""
    """The rollout that the device's last install belongs to."""
    reason: str = ""
    detail: str = ""
    healthy: Mapping[str, int] = field(default_factory=dict)
    """Bundle -> predictions of it by this device that the hub stored since this rollout offered it."""
    ever: Mapping[str, int] = field(default_factory=dict)
    """Bundle -> all predictions of it by this device that the hub ever stored."""
    superseded: bool = False


def judge(rollout: Rollout, member: Member, view: View | None, now_us: int) -> Member:
    """Return the member as it stands now; `since_us` is when its status began."""
    status, reason, detail, chosen = _status(rollout, member, view, now_us)
    # A device tries by itself again what it lacked: what was accepted of it stays so until it is done.
    accepted = member.accepted and status in (MemberStatus.FAILED, MemberStatus.OFFERED, MemberStatus.WAITING)
    same = status is member.status
    return replace(
        member, status=status, reason=reason, detail=detail, accepted=accepted, target=chosen.target,
        bundle=chosen.bundle, since_us=member.since_us if same and member.since_us else now_us,
        offered_us=member.offered_us if chosen.bundle == member.bundle else 0,
    )  # fmt: skip


def offered(rollout: Rollout, member: Member, view: View | None, now_us: int) -> Member:
    """Return the member with what its bundle had shown before, where its wave has begun and that is not known yet."""
    if member.offered_us or not member.bundle or member.wave > rollout.wave or view is None:
        return member
    return replace(member, offered_us=now_us, before=view.ever.get(member.bundle, 0))


def _status(rollout: Rollout, member: Member, view: View | None, now_us: int) -> tuple[MemberStatus, str, str, Fit]:
    chosen = Fit(member.target, member.bundle)
    if view is None:
        return MemberStatus.LEFT, "", "", chosen
    if isinstance(view.fit, Fit):
        chosen = view.fit
    if member.wave > rollout.wave:
        misfit = view.fit if isinstance(view.fit, Misfit) and view.fit.known else None
        return MemberStatus.PENDING, misfit.reason if misfit else "", misfit.detail if misfit else "", chosen
    if view.superseded:
        return MemberStatus.SUPERSEDED, "", "", chosen
    if chosen.bundle and _is_done(rollout, view, chosen.bundle):
        return MemberStatus.DONE, "", "", chosen
    if isinstance(view.fit, Misfit) and view.fit.known and not member.bundle:
        return MemberStatus.UNFIT, view.fit.reason, view.fit.detail, chosen
    return (*_open(rollout, member, view, chosen, now_us), chosen)


def _is_done(rollout: Rollout, view: View, bundle: str) -> bool:
    healthy = view.healthy.get(bundle, 0)
    return view.running == bundle and healthy >= rollout.spec.gates.healthy_predictions


def _open(rollout: Rollout, member: Member, view: View, chosen: Fit, now_us: int) -> tuple[MemberStatus, str, str]:
    stopped = (
        view.phase in _STOPPED and chosen.bundle == view.install_bundle and view.install_seq == rollout.spec.release_seq
    )
    if stopped and view.rollout in ("", rollout.id):
        return MemberStatus.FAILED, view.reason or str(view.phase), view.detail
    if member.status is MemberStatus.FAILED and member.reason == DEADLINE:
        return member.status, member.reason, member.detail  # only being done takes it back
    if member.status is not MemberStatus.OFFERED and view.seen_us < rollout.wave_began_us:
        return MemberStatus.WAITING, "", "not seen since its wave began"
    if view.phase is InstallPhase.CHECKED and view.reason in _HOURS:
        return MemberStatus.WAITING, "", f"waits for its hours: {view.detail}"
    began_us = member.since_us if member.status is MemberStatus.OFFERED else now_us
    if now_us - began_us > rollout.spec.deadline_s * _SECOND_US:
        return MemberStatus.FAILED, DEADLINE, f"not done within {rollout.spec.deadline_s} s"
    return MemberStatus.OFFERED, "", _progress(rollout, view, chosen)


def _progress(rollout: Rollout, view: View, chosen: Fit) -> str:
    if view.running and view.running == chosen.bundle:
        return f"{view.healthy.get(chosen.bundle, 0)} of {rollout.spec.gates.healthy_predictions} healthy predictions"
    return str(view.phase) if view.phase is not InstallPhase.IDLE else ""

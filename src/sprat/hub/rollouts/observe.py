"""What the hub knows, as the rollout's machine wants to see it: a view of each device, and the signals of the waves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sprat.hub.rollouts.cohort import Candidate, Fit, Misfit, fit
from sprat.hub.rollouts.counts import counted_from_us, healthy
from sprat.hub.rollouts.gates import Signals
from sprat.hub.rollouts.machine import Tick
from sprat.hub.rollouts.members import View
from sprat.hub.store.fleet_twins import ReportedTwin
from sprat.hub.store.rollout_values import MemberStatus, Rollout, Spec
from sprat.hub.store.rows import Device
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_values import DAY_US, MINUTE_US
from sprat_device.contract.phases import Reason, RolloutPhase
from sprat_device.contract.sketch import merged
from sprat_device.contract.twin import ModelReport

_STARTED = (RolloutPhase.RUNNING, RolloutPhase.PAUSED, RolloutPhase.COMPLETED)
_JUDGED = (MemberStatus.OFFERED, MemberStatus.DONE, MemberStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The fleet store's side of one moment."""

    cohort: Mapping[str, Device]
    reported: Mapping[str, ReportedTwin]
    candidates: tuple[Candidate, ...]
    fits: Mapping[str, Fit | Misfit]
    now_us: int


def follows(device: Device, spec: Spec) -> bool:
    """Tell whether a device pinned the rollout's channel and model."""
    return device.channel == spec.channel and spec.model in device.models


def fit_of(device: Device, spec: Spec, told: ReportedTwin | None, candidates: Iterable[Candidate]) -> Fit | Misfit:
    """Choose the bundle for a device of the cohort; the facts it reports are newer than those of its enrolment."""
    if not follows(device, spec):
        pinned = f"follows {device.channel} with {', '.join(device.models) or 'no model'}"
        return Misfit(Reason.NOT_PINNED, f"the device {pinned}; only itself can change that")
    facts = {**device.facts, **(told.twin.facts if told else {})}
    return fit(facts, device.labels, candidates)


def observe(rollout: Rollout, knowledge: Knowledge, taken: Collection[str], telemetry: TelemetryStore) -> Tick:
    """Make the tick of one rollout; `taken` are the devices that a newer rollout has."""
    ever: dict[str, dict[str, int]] = {}
    for tally in telemetry.tallies(model=rollout.spec.model, bundles=[c.bundle for c in knowledge.candidates]):
        ever.setdefault(tally.device, {})[tally.bundle] = tally.predictions
    views = {}
    for name in knowledge.cohort:
        member, stored = rollout.members.get(name), ever.get(name, {})
        shown = {member.bundle: healthy(member, stored.get(member.bundle, 0), telemetry)} if member else {}
        seen = _view(rollout, name, knowledge, superseded=name in taken)
        views[name] = replace(seen, healthy=shown, ever=stored)
    return Tick(views, _signals(rollout, knowledge, telemetry))


def taken_by_newer(rollout: Rollout, everything: Iterable[Rollout]) -> frozenset[str]:
    """Return the devices whose model a rollout that started later has under way or has brought there."""
    newer = (
        other
        for other in everything
        if other.phase in _STARTED
        and other.spec.model == rollout.spec.model
        and (other.started_us, other.id) > (rollout.started_us, rollout.id)
    )
    return frozenset(
        member.device
        for other in newer
        for member in other.in_waves_so_far()
        if member.status not in (MemberStatus.UNFIT, MemberStatus.LEFT)
    )


def _view(rollout: Rollout, name: str, knowledge: Knowledge, *, superseded: bool) -> View:
    device, told = knowledge.cohort[name], knowledge.reported.get(name)
    report = told.twin.models.get(rollout.spec.model, ModelReport()) if told else ModelReport()
    install = report.install
    seen_us = knowledge.now_us if device.online else max(device.seen_us, told.received_us if told else 0)
    return View(
        fit=knowledge.fits[name], seen_us=seen_us, running=report.running, phase=install.phase,
        install_bundle=install.bundle, install_seq=install.release_seq, rollout=install.rollout,
        reason=install.reason, detail=install.detail, superseded=superseded,
    )  # fmt: skip


def _signals(rollout: Rollout, knowledge: Knowledge, telemetry: TelemetryStore) -> Signals:
    judged = [member for member in rollout.in_waves_so_far() if member.status in _JUDGED]
    new = [candidate.bundle for candidate in knowledge.candidates]
    if not judged or not new:
        return Signals()
    since: dict[int, list[str]] = {}
    for member in judged:
        # A minute that began before the start still counts, unless the device ran these very bytes then.
        begin_us = counted_from_us(member) if member.before else rollout.started_us - MINUTE_US
        since.setdefault(begin_us, []).append(member.device)
    found = (telemetry.minutes(since_us=begin, devices=devices, bundles=new) for begin, devices in since.items())
    rows = [row for rows in found for row in rows]
    before = []
    if rollout.spec.gates.max_p95_ratio > 0:
        devices = [member.device for member in judged]
        day = telemetry.minutes(since_us=rollout.started_us - DAY_US, devices=devices, model=rollout.spec.model)
        before = [row.latency for row in day if row.bundle not in new]
    return Signals(
        predictions=sum(row.predictions for row in rows),
        errors=sum(row.errors for row in rows),
        latency=merged(row.latency for row in rows),
        latency_before=merged(before),
    )

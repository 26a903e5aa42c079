"""Drives rollouts: reads what the hub knows, steps the machine, persists, then changes desired twins.

One lock serialises ticks and what people ask for; a hub that was killed between persisting and acting catches up with
`replay()`. The newest started rollout of a model has a device; older ones see it as superseded.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from sprat.errors import Refused, SpratError
from sprat.hub.rollouts import machine
from sprat.hub.rollouts.cohort import Candidate, Fit, Misfit, addressed, assign
from sprat.hub.rollouts.observe import Knowledge, fit_of, follows, observe, taken_by_newer
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rollout_values import LogEntry, Rollout, Spec
from sprat.hub.store.rollouts import RolloutStore
from sprat.hub.store.telemetry import TelemetryStore
from sprat_device.contract import release
from sprat_device.contract.ids import DeviceId, Digest
from sprat_device.contract.phases import Reason, RolloutPhase
from sprat_device.contract.twin import Offer

ENGINE: Final = "hub"
_TICKED: Final = (RolloutPhase.RUNNING, RolloutPhase.PAUSED, RolloutPhase.COMPLETED)

log = logging.getLogger(__name__)


class Twins(Protocol):
    """Changes desired twins (`hub/fleet/twins.py`)."""

    def offer(self, device: DeviceId, model: str, offer: Offer | None) -> object:
        """Offer a release of one model to a device, or nothing of it any more."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One device of a plan: its wave, and the bundle that suits it or what it lacks."""

    device: str
    wave: int
    fit: Fit | Misfit


class Dispatcher:
    """All that may be done to rollouts."""

    def __init__(
        self,
        fleet: FleetStore,
        rollouts: RolloutStore,
        telemetry: TelemetryStore,
        twins: Twins,
        now_us: Callable[[], int],
    ) -> None:
        self._fleet = fleet
        self._rollouts = rollouts
        self._telemetry = telemetry
        self._twins = twins
        self._now_us = now_us
        self._lock = threading.RLock()

    def plan(self, spec: Spec, *, salt: str = "plan") -> tuple[Planned, ...]:
        """Tell beforehand which devices a rollout would reach, in which wave, and who does not fit."""
        knowledge = self._knowledge(spec)
        waves = assign(spec.waves, knowledge.cohort.keys(), salt=salt)
        return tuple(
            Planned(device, wave, knowledge.fits[device])
            for device, wave in sorted(waves.items(), key=lambda at: (at[1], at[0]))
        )

    def create(self, spec: Spec, by: str) -> Rollout:
        """Make a draft; a release that is not listed is refused."""
        self._require_listed(spec)
        name = f"{spec.model[:40]}-{spec.release_seq}-{secrets.token_hex(3)}"
        draft = Rollout(id=name, spec=spec, created_us=self._now_us(), by=by)
        with self._lock:
            self._rollouts.save(draft, None, [LogEntry(draft.created_us, by, "created", "")])
        return draft

    def start(self, rollout: str, by: str) -> Rollout:
        """Begin a draft."""
        with self._lock:
            draft = self._get(rollout)
            waves = assign(draft.spec.waves, self._knowledge(draft.spec).cohort.keys(), salt=draft.id)
            self._step(draft, machine.Start(waves), by)
            return self._tick(self._get(rollout), self._rollouts.all())

    def pause(self, rollout: str, by: str, reason: str = "") -> Rollout:
        """Stop a running rollout where it is."""
        return self._act(rollout, machine.Pause(reason or f"paused by {by}"), by)

    def resume(self, rollout: str, by: str) -> Rollout:
        """Go on, accepting what had stopped it."""
        return self._act(rollout, machine.Resume(), by)

    def abort(self, rollout: str, by: str, reason: str = "") -> Rollout:
        """End a rollout and take back the offers of devices that are not done."""
        return self._act(rollout, machine.Abort(reason or f"aborted by {by}"), by)

    def tick(self) -> int:
        """Step every rollout that is not at its end; returns how many there are."""
        with self._lock:
            everything = self._rollouts.all()
            due = [rollout for rollout in everything if rollout.phase in _TICKED]
            for rollout in due:
                try:
                    self._tick(rollout, everything)
                except SpratError:
                    log.exception("rollout %s cannot go on; the others do", rollout.id)
            return len(due)

    def replay(self) -> None:
        """Perform again what the stored states imply: at start, for the hub may have been killed before it acted."""
        with self._lock:
            for rollout in reversed(self._rollouts.all()):
                self._perform(rollout, machine.standing(rollout))

    def _act(self, rollout: str, event: machine.Event, by: str) -> Rollout:
        with self._lock:
            return self._step(self._get(rollout), event, by)

    def _tick(self, rollout: Rollout, everything: Iterable[Rollout]) -> Rollout:
        taken = taken_by_newer(rollout, everything)
        event = observe(rollout, self._knowledge(rollout.spec), taken, self._telemetry)
        return self._step(rollout, event, ENGINE)

    def _step(self, rollout: Rollout, event: machine.Event, who: str) -> Rollout:
        now_us = self._now_us()
        after, effects = machine.step(rollout, event, now_us)
        notes = [LogEntry(now_us, who, note.code, note.detail) for note in effects if isinstance(note, machine.Note)]
        if after != rollout or notes:
            self._rollouts.save(after, rollout, notes)  # persisted before it acts
        self._perform(after, effects)
        return after

    def _perform(self, rollout: Rollout, effects: Iterable[machine.Effect]) -> None:
        for effect in effects:
            try:
                match effect:
                    case machine.OfferTo(device, target, bundle):
                        self._offer(rollout, DeviceId(device), target, Digest(bundle))
                    case machine.Withdraw(device):
                        self._withdraw(rollout, DeviceId(device))
            except SpratError as exc:
                # A device that was revoked this moment; the next tick sees that it left.
                log.warning("rollout %s: %s", rollout.id, exc)

    def _offer(self, rollout: Rollout, device: DeviceId, target: str, bundle: Digest) -> None:
        spec = rollout.spec
        offer = Offer(rollout.id, spec.channel, spec.release_seq, target, bundle, urgent=spec.urgent)
        self._twins.offer(device, spec.model, offer)

    def _withdraw(self, rollout: Rollout, device: DeviceId) -> None:
        desired = self._fleet.desired.get(device)
        offer = desired.offers.get(rollout.spec.model) if desired else None
        if offer is not None and offer.rollout == rollout.id:
            self._twins.offer(device, rollout.spec.model, None)

    def _get(self, rollout: str) -> Rollout:
        found = self._rollouts.get(rollout)
        if found is None:
            raise Refused("unknown-rollout", f"rollout {rollout!r} does not exist; `sprat rollout list` shows them")
        return found

    def _require_listed(self, spec: Spec) -> None:
        published = self._fleet.releases.of(spec.channel, spec.model, spec.release_seq)
        if all(found.withdrawn_us for found in published):
            raise Refused(
                Reason.NOT_LISTED,
                f"release {spec.release_seq} of {spec.model} is not listed in {spec.channel}; "
                "publish it with `sprat release`",
            )

    def _knowledge(self, spec: Spec) -> Knowledge:
        reported = self._fleet.reported.all()
        cohort = {
            str(device.id): device
            for device in self._fleet.devices.all()
            # Named devices stay even if they cannot take it: their author shall read why.
            if addressed(spec.cohort, device.id, device.labels) and (spec.cohort.devices or follows(device, spec))
        }
        published = self._fleet.releases.of(spec.channel, spec.model, spec.release_seq)
        candidates = tuple(
            Candidate(release.parse(found.signed), found.bundle) for found in published if not found.withdrawn_us
        )
        fits = {name: fit_of(device, spec, reported.get(device.id), candidates) for name, device in cohort.items()}
        return Knowledge(cohort, {str(name): told for name, told in reported.items()}, candidates, fits, self._now_us())

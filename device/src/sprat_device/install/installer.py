"""The agent's side of installing: takes offers, runs the updater, flips slots, and watches a trial to its end.

Decide, persist, act: a phase is on the disk before its effects are performed, effects may be repeated, and `boot`
repeats those of the phase that it finds. Nothing here waits: the updater is a child that `tick` looks after.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.board.identity import Identity
from sprat_device.board.settings import InstallSettings
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed, InstallReport, Offer
from sprat_device.install.children import Child, Launch, launcher
from sprat_device.install.floors import ReleaseFloors
from sprat_device.install.machine import UPDATING, Effect, Event, step
from sprat_device.install.probation import Probation, Rules, Verdict, judge
from sprat_device.install.record import Install, Records
from sprat_device.install.slots import Pair, Slots

_FIRST_DELAY_S: Final = 10.0
_PERSIST_EVERY: Final = 16
"""Predictions of a trial that a power cut may forget."""

Model = ModelName | str


@dataclass(slots=True)
class _Retry:
    failures: int = 0
    at_us: int = 0


class Installer:
    """All installs of one device; one updater at a time."""

    def __init__(
        self,
        state: Path,
        files: Files,
        clock: Clock,
        settings: InstallSettings,
        identity: Identity,
        *,
        runtimes: Mapping[str, str],
        launch: Launch | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._models = identity.models
        self._rules = Rules(settings.probation_predictions, settings.probation_starts, settings.max_error_share)
        self._slots = Slots(files, state)
        self._records = Records(files, state)
        self._floors = ReleaseFloors(files, state)
        self._files = files
        self._launch = launch or launcher(state, runtimes)
        self._jitter = jitter
        self._installs: dict[ModelName, Install] = {}
        self._pairs: dict[ModelName, Pair] = {}
        self._running: tuple[ModelName, Child] | None = None
        self._retries: dict[ModelName, _Retry] = {}
        self._verdicts: dict[ModelName, Verdict] = {}
        self._unpersisted: dict[ModelName, int] = {}
        self._events: list[tuple[str, dict[str, Any]]] = []

    def boot(self) -> None:
        """Take up every install where it was left, before anything is loaded."""
        self._slots.prepare()
        for model in self._models:
            self._installs[model] = self._records.load(model)
            self._pairs[model] = self._slots.load(model)
            self._replay(model)
            self._leave_missing(model)
        self._clean()

    def active(self, model: Model) -> tuple[Installed, Path] | None:
        """Return the bundle that shall answer, or None where there is none yet."""
        pair = self._pairs.get(ModelName(model), Pair())
        return (pair.active, self._slots.path(pair.active.bundle)) if pair.active else None

    def offer(self, model: ModelName, offer: Offer) -> None:
        """Take an offer; the same one again changes nothing, a newer one wins."""
        install = self._installs[model]
        if install.offer == offer and install.phase is not Phase.IDLE:
            return
        self._stop_updater(model)
        install = self._records.load(model)
        wanted = Installed(offer.bundle, offer.release_seq)
        same = install.installed == wanted
        if same and install.phase in (Phase.CHECKED, Phase.TRIAL):
            self._store(model, replace(install, offer=offer))
            return
        if install.phase is Phase.TRIAL:
            self._end_trial(model, Verdict(Reason.SUPERSEDED, f"release {offer.release_seq} is offered"))
        if self._pairs[model].active == wanted:
            self._store(model, Install(Phase.CONFIRMED, offer))
            return
        self._begin(model, offer, attempts=install.attempts + 1 if same else 1)

    def tick(self) -> None:
        """Look after the updater and the trials; `active` may name another bundle afterwards."""
        self._reap()
        for model in self._models:
            self._follow(model)
            if self._installs[model].phase is Phase.CHECKED:
                self._start_trial(model)
            if model in self._verdicts:
                self._end_trial(model, self._verdicts.pop(model))
            elif self._unpersisted.get(model, 0) >= _PERSIST_EVERY:
                self._store(model, self._installs[model])
        self._start_updater()

    def loaded(self, model: Model, digest: str) -> None:
        """Note that a bundle answers now."""
        self._events.append(("bundle-loaded", {"model": model, "bundle": digest}))

    def not_loaded(self, model: Model, digest: str, detail: str) -> None:
        """Note that a bundle cannot be loaded: a trial ends, and a kept bundle gives way to the spare."""
        name = ModelName(model)
        install = self._installs[name]
        if install.phase is Phase.TRIAL and install.installed and install.installed.bundle == digest:
            self._verdicts[name] = Verdict(Reason.NOT_LOADED, detail)
            return
        pair = self._pairs[name]
        if pair.active and pair.active.bundle == digest and pair.spare:
            self._set_slots(name, pair.swapped_back(pair.active))

    def observe(self, model: Model, digest: str, ok: bool, latency_us: int) -> None:
        """Count one prediction of the active bundle; only a trial takes notice."""
        name = ModelName(model)
        install = self._installs.get(name)
        if install is None or install.phase is not Phase.TRIAL or name in self._verdicts:
            return
        if install.installed is None or install.installed.bundle != digest:
            return
        probation = install.probation.observed(ok=ok, latency_us=latency_us)
        self._installs[name] = replace(install, probation=probation)
        self._unpersisted[name] = self._unpersisted.get(name, 0) + 1
        if verdict := judge(probation, self._rules):
            self._verdicts[name] = verdict

    def reports(self) -> dict[ModelName, tuple[Installed | None, Installed | None, InstallReport]]:
        """Return slots and install of each model, as the twin tells them."""
        return {
            model: (self._pairs[model].active, self._pairs[model].spare, self._installs[model].report())
            for model in self._models
        }

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """End the updater; what it has done stays, and the next start goes on from there."""
        if self._running is not None:
            self._stop_updater(self._running[0])

    # Phases

    def _begin(self, model: ModelName, offer: Offer, *, attempts: int) -> None:
        begun = Install(Phase.IDLE, offer, attempts=attempts)
        if attempts > self._settings.attempts:
            spent = begun.because(
                Reason.ATTEMPTS_SPENT, f"tried {attempts - 1} times before, {self._settings.attempts} are allowed"
            )
            self._store(model, replace(spent, phase=Phase.REFUSED))
            return
        self._retries.pop(model, None)
        self._advance(model, begun, Event.OFFERED)

    def _start_trial(self, model: ModelName) -> None:
        install = self._installs[model]
        started = replace(install, probation=Probation(slow_us=install.probation.slow_us).started())
        self._advance(model, started, Event.STARTED)

    def _end_trial(self, model: ModelName, verdict: Verdict) -> None:
        install = self._installs[model]
        if verdict.reason is None:
            self._advance(model, install.because("", ""), Event.PROVEN)
        else:
            self._advance(model, install.because(verdict.reason, verdict.detail), Event.DISPROVEN)

    def _advance(self, model: ModelName, install: Install, event: Event) -> None:
        phase, effects = step(install.phase, event)
        self._store(model, replace(install, phase=phase))
        for effect in effects:
            self._perform(model, effect)

    def _replay(self, model: ModelName) -> None:
        """Repeat the effects of the phase that a boot finds, and count the start of a trial."""
        match self._installs[model].phase:
            case Phase.TRIAL:
                self._perform(model, Effect.FLIP)
                install = self._installs[model]
                self._store(model, replace(install, probation=install.probation.started()))
                verdict = judge(self._installs[model].probation, self._rules)
                if verdict is not None:
                    self._end_trial(model, verdict)
            case Phase.CONFIRMED:
                self._perform(model, Effect.RAISE_FLOOR)
            case Phase.REVERTED:
                self._perform(model, Effect.SWAP_BACK)

    def _perform(self, model: ModelName, effect: Effect) -> None:
        installed = self._installs[model].installed
        match effect:
            case Effect.FLIP if installed:
                self._set_slots(model, self._pairs[model].flipped(installed))
            case Effect.SWAP_BACK if installed:
                self._set_slots(model, self._pairs[model].swapped_back(installed))
            case Effect.RAISE_FLOOR if installed:
                self._floors.raise_to(model, installed.release_seq)
            case Effect.STOP_UPDATER:
                self._stop_updater(model)
            case Effect.CLEAN:
                self._clean()
            case _:
                pass  # the updater is started by the next tick, as after a boot

    def _set_slots(self, model: ModelName, pair: Pair) -> None:
        if pair == self._pairs[model]:
            return
        self._slots.store(model, pair)
        self._pairs[model] = pair

    def _leave_missing(self, model: ModelName) -> None:
        pair = self._pairs[model]
        if pair.active and not self._files.exists(self._slots.path(pair.active.bundle)):
            self._events.append(("bundle-missing", {"model": model, "bundle": pair.active.bundle}))
            self._set_slots(model, pair.swapped_back(pair.active))

    def _clean(self) -> None:
        """Remove what neither a slot holds nor an install works on."""
        kept = {one.bundle for pair in self._pairs.values() for one in (pair.active, pair.spare) if one}
        busy = (i.installed for i in self._installs.values() if i.phase in UPDATING or i.phase is Phase.CHECKED)
        self._slots.keep_only(kept | {one.bundle for one in busy if one})

    def _store(self, model: ModelName, install: Install) -> None:
        before = self._installs.get(model)
        self._records.store(model, install)
        self._installs[model] = install
        self._unpersisted[model] = 0
        if before is None or (before.phase, before.offer) != (install.phase, install.offer):
            self._tell(model, install)

    def _tell(self, model: ModelName, install: Install) -> None:
        report = install.report()
        detail = {"model": model, "release_seq": report.release_seq, "bundle": report.bundle, "rollout": report.rollout}
        if report.reason:
            detail |= {"reason": report.reason, "detail": report.detail}
        self._events.append((f"install-{install.phase}", detail))

    # The updater

    def _follow(self, model: ModelName) -> None:
        """Take over what another process wrote: the updater, or an offline install beside this agent."""
        before = self._installs[model]
        if before.phase is Phase.TRIAL:
            return
        found = self._records.load(model)
        if found == before:
            return
        self._installs[model] = found
        if (before.phase, before.offer) != (found.phase, found.offer):
            self._tell(model, found)
        if found.phase is Phase.REFUSED:
            self._clean()

    def _start_updater(self) -> None:
        if self._running is not None:
            return
        now = self._clock.monotonic_us()
        for model in self._models:
            if self._installs[model].phase in UPDATING and self._retries.get(model, _Retry()).at_us <= now:
                self._running = (model, self._launch(model))
                return

    def _reap(self) -> None:
        if self._running is None:
            return
        model, child = self._running
        code = child.poll()
        if code is None:
            return
        self._running = None
        self._follow(model)
        if self._installs[model].phase not in UPDATING:
            self._retries.pop(model, None)
            return
        self._delay(model)
        if code:
            self._events.append(("updater-failed", {"model": model, "code": code}))

    def _delay(self, model: ModelName) -> None:
        """Wait longer after each failure, with full jitter, so that a fleet does not come back as one."""
        retry = self._retries.setdefault(model, _Retry())
        ceiling = min(self._settings.poll_s, _FIRST_DELAY_S * 2**retry.failures)
        retry.failures = min(retry.failures + 1, 20)
        retry.at_us = self._clock.monotonic_us() + round(ceiling * self._jitter() * 1_000_000)

    def _stop_updater(self, model: ModelName) -> None:
        if self._running is not None and self._running[0] == model:
            self._running[1].stop()
            self._running = None

"""The course of every install on the device: its phase on the disk before its effects, and its effects again at boot.

Decide, persist, act. Whatever is done here may be done twice; what happened is told once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.install.floors import ReleaseFloors
from sprat_device.install.machine import UPDATING, Effect, Event, step
from sprat_device.install.pairs import Pairs
from sprat_device.install.probation import Verdict
from sprat_device.install.record import OFFLINE, Install, Records
from sprat_device.install.trials import Trials
from sprat_device.install.updating import Updating

_LOG: Final = logging.getLogger("sprat.install")


class Course:
    """The installs of all models, with the slots that they flip; `others` are bundles that something else needs."""

    def __init__(
        self,
        state: Path,
        files: Files,
        *,
        trials: Trials,
        updating: Updating,
        others: Callable[[], Iterable[str]],
    ) -> None:
        self.pairs = Pairs(files, state)
        self.records = Records(files, state)
        self.installs: dict[ModelName, Install] = {}
        self._floors = ReleaseFloors(files, state)
        self._trials = trials
        self._updating = updating
        self._others = others
        self._events: list[tuple[str, dict[str, Any]]] = []

    def boot(self, models: Iterable[ModelName]) -> None:
        """Take up every install where it was left."""
        for model in models:
            self.installs[model] = self.records.found(model)
            self._or_told(model, lambda model=model: self._take_up(model))  # type: ignore[misc]
        self._or_told("", self.clean)

    def advance(self, model: ModelName, install: Install, event: Event) -> None:
        """Take a step, persist it, and perform what follows from it."""
        phase, effects = step(install.phase, event)
        self.store(model, replace(install, phase=phase))
        for effect in effects:
            self._perform(model, effect)

    def store(self, model: ModelName, install: Install) -> None:
        """Persist an install as it is."""
        before = self.installs.get(model)
        self.records.store(model, install)
        self.installs[model] = install
        self._trials.persisted(model)
        self._tell_change(model, before, install)

    def follow(self, model: ModelName) -> None:
        """Take over what another process wrote: the updater, or an offline install beside this agent."""
        before = self.installs[model]
        if before.phase is Phase.TRIAL:
            return
        found = self.records.load(model)
        if found == before:
            return
        self.installs[model] = found
        self._tell_change(model, before, found)
        if found.phase is Phase.REFUSED:
            self.clean()

    def end_trial(self, model: ModelName, verdict: Verdict) -> None:
        """Keep the bundle on trial, or go back."""
        install = self.installs[model]
        self._trials.ended(model)
        if verdict.reason is None:
            self.advance(model, install.because("", ""), Event.PROVEN)
        else:
            self.advance(model, install.because(verdict.reason, verdict.detail), Event.DISPROVEN)

    def prove_again(self, model: ModelName, bundle: str, detail: str) -> None:
        """Let a kept bundle whose file is gone or damaged go the whole way again, from its offer."""
        install = self.installs[model]
        if install.phase is not Phase.CONFIRMED or install.offer is None or install.offer.bundle != bundle:
            return  # the offer that brought it is not known any more: the hub's next one is waited for
        if install.offer.rollout == OFFLINE:
            lost = install.because(Reason.NOT_LOADED, f"{detail}; bring it again")
            self.store(model, replace(lost, phase=Phase.REVERTED))
        else:
            self.advance(model, Install(install.phase, install.offer, attempts=1), Event.OFFERED)

    def clean(self) -> None:
        """Remove what neither a slot holds nor an install works on."""
        # As the disk has it too: an install beside this agent may have begun since they were last looked at.
        known = [*self.installs.values(), *(self.records.load(model) for model in self.installs)]
        busy = (i.installed for i in known if i.phase in UPDATING or i.phase is Phase.CHECKED)
        self.pairs.keep_only([*(one.bundle for one in busy if one), *self._others()])

    def tell(self, code: str, model: ModelName, /, **detail: object) -> None:
        """Note what happened."""
        self._events.append((code, {"model": model, **detail}))

    def take_events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def _or_told(self, model: str, act: Callable[[], None]) -> None:
        """Do what writes to the disk; one that fails ends no start: what answers goes on, and the next start tries again."""
        try:
            act()
        except OSError as exc:
            _LOG.error("%s: a start cannot take up the installs (%s)", model or "bundles", exc)
            self._events.append(("disk-failed", {"at": "install", "detail": str(exc)[:200]}))

    def _take_up(self, model: ModelName) -> None:
        if self.pairs.mend(model) and (kept := self.pairs.kept(model)):
            self.tell("slots-restored", model, bundle=kept.bundle)
        self._replay(model)
        while missing := self.pairs.leave_missing(model):
            self.tell("bundle-missing", model, bundle=missing)
            self.prove_again(model, missing, "the bundle's file is gone")

    def _replay(self, model: ModelName) -> None:
        """Repeat the effects of the phase that a boot finds, and count the start of a trial."""
        match self.installs[model].phase:
            case Phase.TRIAL:
                self._perform(model, Effect.FLIP)
                install = self.installs[model]
                self.store(model, replace(install, probation=install.probation.started()))
                self._trials.judge(model, self.installs[model])
                if verdict := self._trials.verdict(model):
                    self.end_trial(model, verdict)
            case Phase.CONFIRMED:
                self._perform(model, Effect.RAISE_FLOOR)
                if (kept := self.installs[model].installed) and self.pairs.restore(model, kept):
                    self.tell("slots-restored", model, bundle=kept.bundle)
            case Phase.REVERTED | Phase.CHECKED:  # a trial that was put off is checked, and does not answer
                self._perform(model, Effect.SWAP_BACK)

    def _perform(self, model: ModelName, effect: Effect) -> None:
        installed = self.installs[model].installed
        match effect:
            case Effect.FLIP if installed:
                self.pairs.flip(model, installed)
            case Effect.SWAP_BACK if installed:
                self.pairs.swap_back(model, installed)
            case Effect.RAISE_FLOOR if installed:
                try:
                    self._floors.raise_to(model, installed.release_seq)
                except BundleRefused as exc:
                    # Both records are damaged: nothing is installed any more, but what answers goes on.
                    self.tell("floor-not-raised", model, reason=exc.reason, detail=str(exc.args[0]))
            case Effect.STOP_UPDATER:
                self._updating.stop(model)
            case Effect.CLEAN:
                self.clean()
            case _:
                pass  # the updater is started by the next tick, as after a boot

    def _tell_change(self, model: ModelName, before: Install | None, install: Install) -> None:
        if before is not None and (before.phase, before.offer) == (install.phase, install.offer):
            return
        report = install.report()
        why = {"reason": report.reason, "detail": report.detail} if report.reason else {}
        of = {"release_seq": report.release_seq, "bundle": report.bundle, "rollout": report.rollout}
        self.tell(f"install-{install.phase}", model, **of, **why)

"""The agent's side of installing: takes offers, runs the updater, flips slots, and watches a trial to its end.

Decide, persist, act: a phase is on the disk before its effects are performed, effects may be repeated, and `boot`
repeats those of the phase that it finds. Nothing here waits: the updater is a child that `tick` looks after.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.board.identity import Identity
from sprat_device.board.memory import resident_kib
from sprat_device.board.settings import InstallSettings
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.twin import Desired, Installed, InstallReport, Offer
from sprat_device.install.children import Launch, launcher
from sprat_device.install.course import Course
from sprat_device.install.hours import Hours
from sprat_device.install.loads import Loads, Unloaded
from sprat_device.install.looks import Looks
from sprat_device.install.machine import UPDATING
from sprat_device.install.mending import REFUSED_S, Mending
from sprat_device.install.offers import Offers
from sprat_device.install.probation import Rules
from sprat_device.install.roles import is_shadow, model_of
from sprat_device.install.shadows import ShadowInstalls
from sprat_device.install.trial_course import TrialCourse
from sprat_device.install.trials import Trials
from sprat_device.install.updating import Updating
from sprat_device.install.weight import Weight

Model = ModelName | str


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
        weigh: Callable[[], int] = resident_kib,
    ) -> None:
        self._settings = settings
        self._models = identity.models
        self._weight = Weight(weigh)
        self._trials = Trials(_rules(settings))
        self._updating = Updating(
            clock, launch or launcher(state, runtimes), longest_delay_s=settings.poll_s, jitter=jitter
        )
        self._looks = Looks(state, files, clock, every_s=settings.poll_s, jitter=jitter)
        self._hours = Hours(state, files, clock, settings.maintenance)
        self._mending = Mending(clock, REFUSED_S, jitter=jitter)
        self._shadows = ShadowInstalls(
            state, files, self._updating, self._mending, settings=settings, clean=self._clean
        )
        self._course = Course(state, files, trials=self._trials, updating=self._updating, others=self._shadows.held)
        self._installs = self._course.installs
        self._loads = Loads(self._course, self._trials, clock, jitter=jitter)
        self._offers = Offers(self._course, self._trials, self._updating, self._mending, settings=settings)
        self._trial_course = TrialCourse(self._course, self._trials, self._hours, self._loads, weigh=weigh)
        self._events: list[tuple[str, dict[str, Any]]] = []

    def boot(self) -> None:
        """Take up every install where it was left, before anything is loaded."""
        self._course.pairs.load(self._models)
        self._shadows.boot(self._models)
        self._course.boot(self._models)
        for model, install in self._installs.items():
            self._mending.found(model, install)

    def active(self, model: Model) -> tuple[Installed, Path] | None:
        """Return the bundle that shall answer, or None where there is none yet."""
        return self._course.pairs.active(ModelName(model))

    def offer(self, model: ModelName, offer: Offer) -> None:
        """Take an offer; the same one again changes nothing, a newer one wins."""
        self._offers.take(model, offer)

    def withdraw(self, model: ModelName) -> None:
        """Take note that nothing of a model is offered any more: what is not kept yet is undone, a trial too."""
        self._offers.withdraw(model)

    def offer_shadow(self, model: ModelName, offer: Offer | None) -> None:
        """Take the offer of a bundle that shall see what the active one sees, or that there is none any more."""
        self._shadows.offer(model, offer)

    def shadow(self, model: Model) -> tuple[Installed, Path] | None:
        """Return the bundle that shall be the shadow, None where there is none yet or it is what answers."""
        ready, active = self._shadows.ready(ModelName(model)), self.active(model)
        return None if ready is None or (active and active[0].bundle == ready[0].bundle) else ready

    def shadow_damaged(self, model: ModelName) -> None:
        """Note that the file of a shadow is not the one that was verified: it is fetched and proven again."""
        self._shadows.damaged(model)

    def shadow_report(self, model: Model) -> InstallReport:
        """Return the install of a model's shadow, as the twin tells it."""
        return self._shadows.report(ModelName(model))

    def configure(self, settings: InstallSettings) -> None:
        """Take changed settings; an updater at work goes on with those that it read."""
        self._settings = settings
        self._trials.configure(_rules(settings))
        self._updating.configure(longest_delay_s=settings.poll_s)
        self._looks.configure(every_s=settings.poll_s)
        self._offers.configure(settings)
        self._shadows.configure(settings)
        self._hours.configure(settings.maintenance)

    def maintain(self, desired: Mapping[str, Any]) -> None:
        """Take the maintenance windows of the twin."""
        self._hours.follow(desired)

    def tick(self) -> None:
        """Look after the updater and the trials; `active` may name another bundle afterwards."""
        self._reap()
        for model in self._models:
            self._course.follow(model)
            self._loads.follow(model, most=self._settings.updater_attempts)
            self._offers.mend(model)
            self._trial_course.follow(model)
        if all(self._installs[model].phase is not Phase.TRIAL for model in self._models):
            self._look_at_weight()
        self._shadows.follow()
        updating = [model for model in self._models if self._installs[model].phase in UPDATING]
        self._updating.start([*updating, *self._shadows.waiting()], look=self._looks.due())

    def loaded(self, model: Model, digest: str) -> None:
        """Note that a bundle answers now."""
        self._weight.loaded()
        self._loads.loaded(ModelName(model), digest)
        self._course.tell("bundle-loaded", ModelName(model), bundle=digest)

    def not_loaded(
        self, model: Model, digest: str, detail: str, *, unfed: bool = False, lacks: bool = False, defect: bool = False
    ) -> None:
        """Note that a bundle does not answer: a trial ends or is put off, for a kept bundle the spare stands in.

        `unfed`: it loads, but the inputs of the settings do not fit it. `lacks`: nothing is wrong with the bundle.
        `defect`: nobody knows what is.
        """
        told = {Unloaded.INPUTS: unfed, Unloaded.MACHINE: lacks, Unloaded.DEFECT: defect}
        self._loads.failed(ModelName(model), digest, detail, next((why for why in told if told[why]), Unloaded.BUNDLE))

    def again(self, model: Model) -> bool:
        """Tell, once, that what a slot holds shall be loaded again."""
        return self._loads.again(ModelName(model))

    def observe(self, model: Model, digest: str, ok: bool, latency_us: int) -> None:
        """Count one prediction of the active bundle; only a trial takes notice."""
        if ok:
            self._weight.answered()
        self._trial_course.observe(ModelName(model), digest, ok=ok, latency_us=latency_us)

    def reports(self) -> dict[ModelName, tuple[Installed | None, Installed | None, InstallReport]]:
        """Return slots and install of each model, as the twin tells them."""
        pairs = {model: self._course.pairs.of(model) for model in self._models}
        return {model: (pair.active, pair.spare, self._installs[model].report()) for model, pair in pairs.items()}

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what happened since the last call."""
        events, self._events = [*self._course.take_events(), *self._events, *self._shadows.events()], []
        return events

    def desired(self) -> Desired | None:
        """Return the desired twin that a look at the hub brought, once; what it says is a hint, as over the broker."""
        return self._looks.desired()

    def stop(self) -> None:
        """End the updater; what it has done stays, and the next start goes on from there."""
        self._updating.end()

    def _look_at_weight(self) -> None:
        may_grow_kib = max((install.probation.growth_kib for install in self._installs.values()), default=0)
        if grown := self._weight.look(may_grow_kib):
            self._events.append(("memory-grown", {"kib": grown.kib, "limit_kib": grown.limit_kib}))

    def _clean(self) -> None:
        self._course.clean()

    def _reap(self) -> None:
        if (ended := self._updating.ended()) is None:
            return
        model, code = ended
        if model is None:
            self._events += self._looks.ended(code)
        elif is_shadow(model):
            self._shadows.ended(model, model_of(model), code)
        else:
            self._offers.updater_ended(model, code)


def _rules(settings: InstallSettings) -> Rules:
    return Rules(settings.probation_predictions, settings.probation_starts, settings.max_error_share)

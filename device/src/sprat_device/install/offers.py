"""Offers of bundles that shall answer: taken, taken back by the hub, tried again, or given up.

The same offer again changes nothing, a newer one wins, and each try of the same bundle is counted: too many, and it is
refused. What was refused for something that this machine lacked is tried again by itself, and that is no attempt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sprat_device.board.settings import InstallSettings
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed, Offer
from sprat_device.install.course import Course
from sprat_device.install.failing import counted, reason_of, spent
from sprat_device.install.looks import BUSY
from sprat_device.install.machine import UPDATING, Event
from sprat_device.install.mending import Mending, mendable
from sprat_device.install.probation import Verdict
from sprat_device.install.record import OFFLINE, Install
from sprat_device.install.trials import Trials
from sprat_device.install.updating import Updating

_UNDONE: Final = UPDATING | {Phase.CHECKED, Phase.TRIAL}
"""What the hub can take back."""


class Offers:
    """The offers of all models, up to where a bundle has been checked."""

    def __init__(
        self, course: Course, trials: Trials, updating: Updating, mending: Mending, *, settings: InstallSettings
    ) -> None:
        self._course = course
        self._installs = course.installs
        self._trials = trials
        self._updating = updating
        self._mending = mending
        self._settings = settings

    def configure(self, settings: InstallSettings) -> None:
        """Take changed settings."""
        self._settings = settings

    def take(self, model: ModelName, offer: Offer) -> None:
        """Take an offer; the same one again changes nothing, a newer one wins."""
        install = self._installs[model]
        if (install.offer == offer and install.phase is not Phase.IDLE) or install.outdoes(offer):
            return
        self._updating.stop(model)
        install = self._course.records.load(model)
        wanted = Installed(offer.bundle, offer.release_seq)
        same = install.installed == wanted
        if same and install.phase in (Phase.CHECKED, Phase.TRIAL):
            self._course.store(model, replace(install, offer=offer))
            return
        if install.phase is Phase.TRIAL:
            self._course.end_trial(model, Verdict(Reason.SUPERSEDED, f"release {offer.release_seq} is offered"))
        if self._course.pairs.of(model).active == wanted:
            self._course.pairs.settle(model)
            self._course.store(model, Install(Phase.CONFIRMED, offer))
            return
        # Taken back before it came to anything, or refused for what was lacking: no fault of the release.
        again = install.phase is not Phase.IDLE and not mendable(install)
        self._begin(model, offer, attempts=install.attempts + again if same else 1)

    def withdraw(self, model: ModelName) -> None:
        """Take note that nothing of a model is offered any more: what is not kept yet is undone, a trial too."""
        install = self._installs[model]
        if mendable(install):  # it must not come back by itself
            taken = install.because(Reason.CANCELLED, f"the hub has taken the offer back; before: {install.reason}")
            self._course.store(model, replace(taken, phase=Phase.IDLE))
        if install.offer is None or install.offer.rollout == OFFLINE or install.phase not in _UNDONE:
            return
        self._updating.stop(model)
        self._course.follow(model)
        install = self._installs[model].because(Reason.CANCELLED, "the hub has taken the offer back")
        if install.phase in _UNDONE:
            self._trials.ended(model)
            self._course.advance(model, install, Event.CANCELLED)

    def mend(self, model: ModelName) -> None:
        """Let an offer that was refused for what lacked go the whole way again, once its time has come."""
        install = self._installs[model]
        if self._mending.due(model, install):
            self._updating.at_once(model)
            self._course.advance(model, replace(install, failures=0).because("", ""), Event.OFFERED)

    def updater_ended(self, model: ModelName, code: int) -> None:
        """Note that the updater has ended its work on an offer, by an exit code."""
        self._course.follow(model)
        if self._installs[model].phase not in UPDATING:
            self._updating.at_once(model)
            return
        self._updating.later(model)
        if code not in (0, BUSY):
            self._count_failure(model, code)

    def _begin(self, model: ModelName, offer: Offer, *, attempts: int) -> None:
        if refused := spent(offer, attempts, allowed=self._settings.attempts):
            self._course.store(model, refused)
            return
        self._updating.at_once(model)
        self._course.advance(model, Install(Phase.IDLE, offer, attempts=attempts), Event.OFFERED)

    def _count_failure(self, model: ModelName, code: int) -> None:
        """Note that the updater ended by a fault; too often, and the offer is refused, while the old bundle goes on."""
        self._course.tell("updater-failed", model, code=code, reason=reason_of(code))
        before = self._installs[model]
        after = counted(before, code)
        if after.failures >= self._settings.updater_attempts:
            self._course.advance(model, after, Event.REFUSED)
        elif after != before:
            self._course.store(model, after)

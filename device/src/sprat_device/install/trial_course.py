"""The course of each trial: begun when the maintenance window is open, weighed at every look, ended by its verdict.

A bundle whose trial was put off waits for its time. What a trial has counted is on the disk often enough that a power
cut forgets little of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.install.course import Course
from sprat_device.install.hours import Hours
from sprat_device.install.loads import Loads
from sprat_device.install.machine import Event
from sprat_device.install.probation import Probation
from sprat_device.install.trials import Trials


class TrialCourse:
    """The trials of all models, from checked to kept or reverted; `weigh` tells the agent's memory in KiB."""

    def __init__(self, course: Course, trials: Trials, hours: Hours, loads: Loads, *, weigh: Callable[[], int]) -> None:
        self._course = course
        self._installs = course.installs
        self._trials = trials
        self._hours = hours
        self._loads = loads
        self._weigh = weigh

    def follow(self, model: ModelName) -> None:
        """Begin, weigh or end the trial of a model, whichever is due."""
        install = self._installs[model]
        if install.phase is Phase.CHECKED and not self._loads.waits(model):
            self._begin_when_open(model)
        elif install.phase is Phase.TRIAL:
            self._installs[model] = self._trials.weigh(model, install, self._weigh())
        if verdict := self._trials.verdict(model):
            self._course.end_trial(model, verdict)
        elif self._trials.persist_due(model):
            self._course.store(model, self._installs[model])

    def observe(self, model: ModelName, digest: str, *, ok: bool, latency_us: int) -> None:
        """Count one prediction; only a trial of that very bundle takes notice."""
        if install := self._installs.get(model):
            self._installs[model] = self._trials.observe(model, install, digest=digest, ok=ok, latency_us=latency_us)

    def _begin_when_open(self, model: ModelName) -> None:
        install = self._installs[model]
        closed = self._hours.closed(urgent=install.offer is not None and install.offer.urgent)
        if closed is None:
            proof = Probation(slow_us=install.probation.slow_us, growth_kib=install.probation.growth_kib)
            started = replace(install, probation=proof.started())
            self._course.advance(model, started.because("", ""), Event.STARTED)
        elif (install.reason, install.detail) != (closed.reason, closed.detail):
            self._course.store(model, install.because(closed.reason, closed.detail))
            self._course.tell("install-waits", model, reason=closed.reason, detail=closed.detail)

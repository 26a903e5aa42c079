"""What becomes of a bundle that the agent could not load: given up, proven again, or tried again.

A bundle on trial that is itself at fault is reverted; one that only found the machine short of something is put off. A
kept bundle has answered before: the spare stands in for it, its file is fetched again if that is damaged, else it is
tried later and later, and at every start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from sprat_device.board.clock import Clock
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed
from sprat_device.install.course import Course
from sprat_device.install.machine import Event
from sprat_device.install.mending import LOADING_S, Mending
from sprat_device.install.trials import Trials, on_trial


class Unloaded(StrEnum):
    """Why a bundle does not answer."""

    BUNDLE = "bundle"
    """It, or its file, is not what it must be."""
    MACHINE = "machine"
    """Memory, disk or runtime lack something."""
    DEFECT = "defect"
    """The agent or a runtime failed: nobody knows whose fault that is, so a trial ends, and what is kept is tried again."""
    INPUTS = "inputs"
    """It loads, but the inputs of the settings do not fit it."""


@dataclass(frozen=True, slots=True)
class _Failure:
    bundle: str
    detail: str


class Loads:
    """Failed loads of all models; what writes to the disk waits for `follow`."""

    def __init__(self, course: Course, trials: Trials, clock: Clock, *, jitter: Callable[[], float]) -> None:
        self._course = course
        self._trials = trials
        self._mending = Mending(clock, LOADING_S, jitter=jitter)
        self._put_off: dict[ModelName, _Failure] = {}
        self._damaged: dict[ModelName, _Failure] = {}
        self._waiting: dict[ModelName, Installed] = {}
        self._again: set[ModelName] = set()

    def failed(self, model: ModelName, digest: str, detail: str, why: Unloaded) -> None:
        """Take note of a bundle that does not answer."""
        if on_trial(self._course.installs[model], digest):
            if why is Unloaded.MACHINE:
                self._put_off[model] = _Failure(digest, detail)
            else:
                self._trials.disprove(model, Reason.NOT_LOADED, detail)
        elif why is not Unloaded.INPUTS:  # it was fed before, so it stays
            self._step_aside(model, _Failure(digest, detail), why)

    def loaded(self, model: ModelName, digest: str) -> None:
        """Take note of a bundle that answers."""
        if model in self._waiting and self._waiting[model].bundle == digest:
            del self._waiting[model]
            self._mending.forget(model)

    def follow(self, model: ModelName, *, most: int) -> None:
        """Put off, prove again or try again what is due; a trial is put off fewer than `most` times."""
        if (failure := self._put_off.get(model)) is not None:
            self._put_trial_off(model, failure, most)
            del self._put_off[model]
        if (failure := self._damaged.get(model)) is not None:
            self._course.prove_again(model, failure.bundle, failure.detail)
            del self._damaged[model]
        kept = self._waiting.get(model)
        if kept is not None and not self._mending.waits(model, kept):
            del self._waiting[model]
            if self._course.pairs.kept(model) == kept:
                self._course.pairs.step_back(model)
                self._again.add(model)

    def waits(self, model: ModelName) -> bool:
        """Tell whether the trial of the bundle at hand was put off, and its time has not come."""
        installed = self._course.installs[model].installed
        return installed is not None and self._mending.waits(_trial(model), installed)

    def again(self, model: ModelName) -> bool:
        """Tell, once, that a bundle shall be loaded again though its slot has not changed."""
        wanted = model in self._again
        self._again.discard(model)
        return wanted

    def _step_aside(self, model: ModelName, failure: _Failure, why: Unloaded) -> None:
        kept = self._course.pairs.kept(model)
        if kept is None or kept.bundle != failure.bundle:
            return  # the spare that stood in: the kept one is tried again in any case
        if self._course.pairs.step_aside(model):
            self._course.tell("bundle-stands-aside", model, bundle=failure.bundle, detail=failure.detail[:500])
        if why is Unloaded.BUNDLE:
            self._damaged[model] = failure
        self._mending.failed(model, kept)
        self._waiting[model] = kept

    def _put_trial_off(self, model: ModelName, failure: _Failure, most: int) -> None:
        install = self._course.installs[model]
        if install.installed is None or not on_trial(install, failure.bundle):
            return
        if install.failures + 1 >= most:
            self._trials.disprove(model, Reason.NOT_LOADED, failure.detail)
            return
        put_off = replace(install, failures=install.failures + 1).because(Reason.NOT_LOADED, failure.detail)
        self._course.advance(model, put_off, Event.TRY_LATER)
        self._mending.failed(_trial(model), install.installed)


def _trial(model: ModelName) -> str:
    """Return the key of a trial: what is kept waits for times of its own."""
    return f"{model}/trial"

"""What the bundles on trial show, counted in memory: when a verdict is due, and when the counts are to be persisted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.install.probation import Rules, Verdict, judge
from sprat_device.install.record import Install

_PERSIST_EVERY: Final = 16
"""Predictions of a trial that a power cut may forget."""


class Trials:
    """The trials of one device; a verdict stands until the installer takes it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._verdicts: dict[ModelName, Verdict] = {}
        self._unpersisted: Counter[ModelName] = Counter()

    def configure(self, rules: Rules) -> None:
        """Take other rules, for the trials that go on too."""
        self._rules = rules

    def observe(self, model: ModelName, install: Install, *, digest: str, ok: bool, latency_us: int) -> Install:
        """Count one prediction; only a trial of that very bundle takes notice."""
        if not on_trial(install, digest) or model in self._verdicts:
            return install
        install = replace(install, probation=install.probation.observed(ok=ok, latency_us=latency_us))
        self._unpersisted[model] += 1
        self.judge(model, install)
        return install

    def weigh(self, model: ModelName, install: Install, kib: int) -> Install:
        """Take what the agent weighs; only a trial takes notice."""
        if install.phase is not Phase.TRIAL or model in self._verdicts:
            return install
        install = replace(install, probation=install.probation.weighed(kib))
        self.judge(model, install)
        return install

    def judge(self, model: ModelName, install: Install) -> None:
        """Look whether what was counted is enough for a verdict."""
        if install.phase is Phase.TRIAL and (verdict := judge(install.probation, self._rules)):
            self._verdicts[model] = verdict

    def disprove(self, model: ModelName, reason: Reason, detail: str) -> None:
        """End a trial for something other than its counts."""
        self._verdicts[model] = Verdict(reason, detail)

    def verdict(self, model: ModelName) -> Verdict | None:
        """Return the verdict, if there is one."""
        return self._verdicts.get(model)

    def ended(self, model: ModelName) -> None:
        """Forget the verdict: a trial that ended for another reason leaves none for the next."""
        self._verdicts.pop(model, None)

    def persist_due(self, model: ModelName) -> bool:
        """Tell whether as much was counted as may be forgotten."""
        return self._unpersisted[model] >= _PERSIST_EVERY

    def persisted(self, model: ModelName) -> None:
        """Note that the counts are on the disk."""
        self._unpersisted[model] = 0


def on_trial(install: Install, digest: str) -> bool:
    """Tell whether this very bundle is on trial."""
    return install.phase is Phase.TRIAL and install.installed is not None and install.installed.bundle == digest

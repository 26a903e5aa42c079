"""The shadow slot of each model: a bundle that came the very same way as one that answers, up to the golden set.

idle -> fetching -> staged -> checked, or refused; `checked` is where it stays. It has no trial, flips no slot and raises
no floor. A shadow that the hub no longer wants is forgotten, and its file goes unless something else needs it; offered
for real, the file is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sprat_device.board.files import Files
from sprat_device.board.settings import InstallSettings
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.twin import Installed, InstallReport, Offer
from sprat_device.install.failing import counted, reason_of, spent
from sprat_device.install.looks import BUSY
from sprat_device.install.machine import UPDATING, Event, step
from sprat_device.install.mending import Mending
from sprat_device.install.record import Install, Records
from sprat_device.install.roles import shadow_of
from sprat_device.install.slots import Slots
from sprat_device.install.updating import Updating


class ShadowInstalls:
    """The installs of all shadows; the updater is the one that the installs of answering bundles use."""

    def __init__(
        self,
        state: Path,
        files: Files,
        updating: Updating,
        mending: Mending,
        *,
        settings: InstallSettings,
        clean: Callable[[], None],
    ) -> None:
        self._files = files
        self._slots = Slots(files, state)
        self._records = Records(files, state)
        self._updating = updating
        self._mending = mending
        self._settings = settings
        self._clean = clean
        self._installs: dict[ModelName, Install] = {}
        self._damaged: set[ModelName] = set()
        self._events: list[tuple[str, dict[str, Any]]] = []

    def configure(self, settings: InstallSettings) -> None:
        """Take changed settings."""
        self._settings = settings

    def boot(self, models: Iterable[ModelName]) -> None:
        """Take up every install where it was left; a bundle that is gone is fetched again."""
        for model in models:
            install = self._installs[model] = self._records.found(shadow_of(model))
            gone = install.installed and not self._files.exists(self._slots.path(install.installed.bundle))
            if gone and install.phase in (Phase.STAGED, Phase.CHECKED):
                self._store(model, replace(install, phase=Phase.FETCHING))
            else:
                self._mending.found(shadow_of(model), install)

    def offer(self, model: ModelName, offer: Offer | None) -> None:
        """Take an offer, or that there is none any more; the same one again changes nothing."""
        install = self._installs[model]
        if (install.offer == offer and install.phase is not Phase.IDLE) or (offer is None and install == Install()):
            return
        self._updating.stop(shadow_of(model))
        install = self._records.load(shadow_of(model))
        if offer is None:
            step(install.phase, Event.CANCELLED)
            self._store(model, Install())
            self._clean()
            return
        same = install.installed == Installed(offer.bundle, offer.release_seq)
        if same and install.phase is Phase.CHECKED:
            self._store(model, replace(install, offer=offer))
        else:
            self._begin(model, offer, install, attempts=install.attempts + 1 if same else 1)

    def follow(self) -> None:
        """Take over what the updater wrote, and let what was refused for what lacked go the whole way again."""
        for model in self._installs:
            self._follow(model)
            install = self._installs[model]
            if model in self._damaged and install.phase is Phase.CHECKED and install.offer is not None:
                self._begin(model, install.offer, install, attempts=install.attempts + 1)
            self._damaged.discard(model)
            if self._mending.due(shadow_of(model), install):
                self._updating.at_once(shadow_of(model))
                phase, _ = step(install.phase, Event.OFFERED)
                self._store(model, replace(install, phase=phase, failures=0).because("", ""))

    def waiting(self) -> list[ModelName]:
        """Return the keys for which the updater has work."""
        return [shadow_of(model) for model, install in self._installs.items() if install.phase in UPDATING]

    def ended(self, key: ModelName, model: ModelName, code: int) -> None:
        """Note that the updater has ended its work on a shadow."""
        self._follow(model)
        if self._installs[model].phase not in UPDATING:
            self._updating.at_once(key)
            return
        self._updating.later(key)
        if code in (0, BUSY):
            return
        told = {"model": model, "role": "shadow", "code": code, "reason": reason_of(code)}
        self._events.append(("updater-failed", told))
        after = counted(self._installs[model], code)
        if after.failures >= self._settings.updater_attempts:
            self._store(model, replace(after, phase=step(after.phase, Event.REFUSED)[0]))
            self._clean()
        elif after != self._installs[model]:
            self._store(model, after)

    def ready(self, model: ModelName) -> tuple[Installed, Path] | None:
        """Return the bundle that may stand beside the one that answers, and where it is."""
        install = self._installs.get(model, Install())
        if install.phase is not Phase.CHECKED or install.installed is None:
            return None
        return install.installed, self._slots.path(install.installed.bundle)

    def damaged(self, model: ModelName) -> None:
        """Note that a shadow's file is not the one that was verified: it goes the whole way again, as an attempt more."""
        self._damaged.add(model)

    def held(self) -> list[Digest]:
        """Return the bundles that must stay on the disk."""
        return [
            install.installed.bundle
            for install in self._installs.values()
            if install.installed and (install.phase in UPDATING or install.phase is Phase.CHECKED)
        ]

    def report(self, model: ModelName) -> InstallReport:
        """Return what the twin says of a shadow's install."""
        return self._installs.get(model, Install()).report()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def _begin(self, model: ModelName, offer: Offer, before: Install, *, attempts: int) -> None:
        if refused := spent(offer, attempts, allowed=self._settings.attempts):
            self._store(model, refused)
            return
        phase, _ = step(before.phase, Event.OFFERED)
        self._updating.at_once(shadow_of(model))
        self._store(model, Install(phase, offer, attempts=attempts))
        if before.offer is not None:
            self._clean()  # what it held before, unless a slot holds it too

    def _follow(self, model: ModelName) -> None:
        before, found = self._installs[model], self._records.load(shadow_of(model))
        if found == before:
            return
        self._installs[model] = found
        if (before.phase, before.offer) != (found.phase, found.offer):
            self._tell(model, found)
        if found.phase is Phase.REFUSED:
            self._clean()

    def _store(self, model: ModelName, install: Install) -> None:
        before = self._installs[model]
        self._records.store(shadow_of(model), install)
        self._installs[model] = install
        if (before.phase, before.offer) != (install.phase, install.offer):
            self._tell(model, install)

    def _tell(self, model: ModelName, install: Install) -> None:
        report = install.report()
        detail = {"model": model, "role": "shadow", "release_seq": report.release_seq, "bundle": report.bundle}
        if report.reason:
            detail |= {"reason": report.reason, "detail": report.detail}
        self._events.append((f"install-{install.phase}", detail))

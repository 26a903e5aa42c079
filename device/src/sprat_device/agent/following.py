"""What the hub desires, handed to each part of the agent that follows it; what is known already changes nothing.

While nobody knows what is wanted (a new device, a file that cannot be read) nothing is taken back: neither a trial nor
a shadow ends for that.
"""

from __future__ import annotations

from collections.abc import Iterable

from sprat_device.agent.care import Care
from sprat_device.agent.desired import DesiredState
from sprat_device.agent.reloading import Reloader
from sprat_device.agent.watching import Watching
from sprat_device.contract.ids import ModelName
from sprat_device.install.installer import Installer
from sprat_device.telemetry.recorder import Recorder


class Following:
    """Follows one desired state; `models` are those pinned here."""

    def __init__(
        self,
        desired: DesiredState,
        models: Iterable[ModelName],
        *,
        recorder: Recorder,
        reloader: Reloader,
        installer: Installer,
        watching: Watching,
        care: Care,
    ) -> None:
        self._desired = desired
        self._models = frozenset(models)
        self._recorder = recorder
        self._reloader = reloader
        self._installer = installer
        self._watching = watching
        self._care = care

    def follow(self) -> None:
        """Let every part follow what is desired now."""
        wanted = self._desired.current
        self._recorder.apply(wanted.telemetry)
        self._reloader.follow(wanted)
        self._installer.maintain(wanted.maintenance)
        if self._desired.known:
            self._care.attempt("offers", self._take_offers)
            self._care.attempt("shadows", lambda: self._watching.take(wanted))

    def _take_offers(self) -> None:
        """Hand every offer to the installer, and that there is none."""
        offers = self._desired.current.offers
        for unoffered in self._models - offers.keys():
            self._installer.withdraw(unoffered)
        for model, offer in offers.items():
            if model in self._models:
                self._installer.offer(ModelName(model), offer)
            else:
                self._recorder.event("offer-ignored", {"model": model, "detail": "not among the models pinned here"})

"""What watches the streams: captures and shadows, wired to the recorder, the installer and the hub's wishes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.board.settings import DeviceSettings, InputSettings
from sprat_device.contract.errors import ContractError
from sprat_device.contract.ids import ModelName
from sprat_device.contract.twin import Desired, ShadowReport
from sprat_device.inference.capturing import Capturer, CaptureWatcher
from sprat_device.inference.shadowing import Ports, Shadows
from sprat_device.inference.telling import Watcher
from sprat_device.install.installer import Installer
from sprat_device.telemetry.recorder import Recorder

_LOG: Final = logging.getLogger("sprat.agent")


class Watching:
    """Captures and shadows of one device."""

    def __init__(
        self,
        state: Path,
        settings: DeviceSettings,
        clock: Clock,
        files: Files,
        *,
        recorder: Recorder,
        installer: Installer,
        models: Sequence[ModelName],
    ) -> None:
        self._installer = installer
        self._recorder = recorder
        self._models = tuple(models)
        self._state = state
        self._clock = clock
        self._settings = settings
        self._capturer = Capturer(settings.capture, recorder, clock, files, state)
        self._shadows = Shadows(self._ports(settings))

    def of_input(self, wanted: InputSettings) -> tuple[Watcher, ...]:
        """Return what watches one input; what is switched off costs its loop one look."""
        return self._shadows.watcher(wanted.model), CaptureWatcher(self._capturer)

    def start(self) -> None:
        """Begin to capture, where the settings say so."""
        self._capturer.start()

    def take(self, desired: Desired) -> None:
        """Follow what the hub wishes, as far as this device allows it."""
        if not self._capturer.apply(desired.capture):
            _LOG.info("capture: the hub's wish is left, [capture] hub_may_tune says so")
        for model in self._models:
            wanted = desired.shadows.get(model) if self._settings.shadow.enabled else None
            self._installer.offer_shadow(model, wanted)

    def configure(self, settings: DeviceSettings, desired: Desired) -> None:
        """Follow changed settings of captures and shadows."""
        self._capturer.configure(settings.capture)
        self.rest_on(settings)
        self.take(desired)

    def rest_on(self, settings: DeviceSettings) -> None:
        """Begin shadows anew where what they rest on has changed; what the hub wishes stays as it is."""
        before, self._settings = self._settings, settings
        if _of_shadows(before) != _of_shadows(settings):
            self._shadows.configure(self._ports(settings))

    def follow(self) -> None:
        """Let the shadow of each model be what its shadow slot holds."""
        for model in self._models:
            self._shadows.follow(model, self._installer.shadow(model))
            standing = self._shadows.standing(model)
            if standing is not None and standing.damaged:
                self._installer.shadow_damaged(model)

    def report(self, model: str) -> ShadowReport | None:
        """Return what the twin says of a model's shadow, None where there was never one."""
        install, standing = self._installer.shadow_report(model), self._shadows.standing(model)
        if standing is None:
            return ShadowReport(install=install) if install.bundle else None
        return ShadowReport(
            install=install, state=standing.state, running=install.bundle if standing.state == "running" else "",
            detail=standing.detail[:1000], compared=standing.compared, agreed=standing.agreed, starts=standing.starts,
        )  # fmt: skip

    def _ports(self, settings: DeviceSettings) -> Ports:
        return Ports(
            settings=settings.shadow, clock=self._clock, recorder=self._recorder, cache=self._state / "artifacts",
            runtime=settings.runtime, interval_s=settings.telemetry.summary_interval_s,
            on_disagreement=self._capturer.offer,
        )  # fmt: skip

    def capture_now(self, model: str) -> dict[str, object]:
        """Have the next reading kept, of a model or of all; ContractError where captures are off or their budget is spent."""
        wanted = [model] if model else list(self._models)
        if not set(wanted) <= set(self._models):
            raise ContractError(f"argument 'model': found {model[:63]!r}, expected one of {', '.join(self._models)}")
        refused = [each for each in wanted if not self._capturer.ask(each)]
        if refused:
            raise ContractError(
                "captures are off on this device, or the day's bytes for references are spent; see [capture]"
            )
        return {"asked": wanted}

    def stop(self) -> None:
        """End the shadows, then the captures that they may still offer."""
        self._shadows.stop()
        self._capturer.stop()


def _of_shadows(settings: DeviceSettings) -> tuple[object, ...]:
    return settings.shadow, settings.runtime, settings.telemetry.summary_interval_s

"""The changeover of a model from one bundle to the next, or to none: loaded first, then taken up input by input.

The old bundle goes on answering until an input has taken up the new one, and where the new one does not load or fits
no input. Each is told to the installer, which decides what becomes of the bundle.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sprat_device.agent.inputs import Inputs
from sprat_device.agent.stream import Model
from sprat_device.contract.errors import BundleRefused, MachineLacks, WrongUse
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed
from sprat_device.inference import artifacts
from sprat_device.inference.serve import OnDemand
from sprat_device.inference.session import Session
from sprat_device.install.installer import Installer
from sprat_device.telemetry.recorder import Recorder

_LOG: Final = logging.getLogger("sprat.agent")


class Changeover:
    """Loads bundles for the inputs of a model; `runtimes` are those to choose from, by default all that are installed."""

    def __init__(
        self,
        state: Path,
        inputs: Inputs,
        serving: OnDemand,
        recorder: Recorder,
        installer: Installer,
        *,
        runtimes: Mapping[str, str] | None,
    ) -> None:
        self._state = state
        self._inputs = inputs
        self._serving = serving
        self._recorder = recorder
        self._installer = installer
        self._runtimes = runtimes

    def load(self, model: Model, installed: Installed, path: Path) -> None:
        """Load a bundle; one that cannot be loaded is told to the installer, which reverts, and the old one goes on."""
        digest, session = installed.bundle, None
        try:
            session = self._opened(path, digest)
            lost = self._swap(model, session, installed)
        # Not only our own errors: whatever a runtime throws at a bad artifact must end in a revert, not in a dead agent.
        except Exception as exc:  # noqa: BLE001
            _LOG.exception("%s: bundle %s cannot be loaded", model.name, digest[:12])
            self._recorder.event("not-loaded", {"bundle": digest, "detail": str(exc)[:500]}, model=model.name)
            if model.counts()[0] == digest:
                return  # it answers, by the settings before: these are to blame, not the bundle
            unfed = session is not None and isinstance(exc, WrongUse)
            lacks = isinstance(exc, MachineLacks | MemoryError | OSError)
            defect = not lacks and not isinstance(exc, BundleRefused | WrongUse)
            self._installer.not_loaded(model.name, digest, str(exc), unfed=unfed, lacks=lacks, defect=defect)
        else:
            self._installer.loaded(model.name, digest)
            artifacts.keep_only(self._state / "artifacts", self._state / "bundles")
            if lost:  # a bundle on trial must not take an input away
                self._installer.not_loaded(model.name, digest, lost, unfed=True)

    def begin(self, model: Model) -> None:
        """Let the inputs that are new, or did not fit, answer with the bundle that is loaded."""
        if model.loaded is None:
            return
        session, installed = model.loaded
        waiting = [stream for stream in model.streams if stream.worker is None or stream.unfit]
        begun = [stream for stream in waiting if self._inputs.take_up(stream, model, session, installed)]
        if begun and not model.runtime:
            self._answers(model, session, installed)
            self._installer.loaded(model.name, installed.bundle)

    def unload(self, model: Model) -> None:
        """Let a model answer with nothing: no bundle is left."""
        model.runtime = ""
        model.loaded = None
        for stream in model.streams:
            stream.unfit = ""
            if stream.loop is not None:
                stream.loop.unload()
        self._serving.hide(model.name)
        _LOG.warning("%s: no bundle is left to answer, waiting for an offer", model.name)

    def _opened(self, path: Path, digest: str) -> Session:
        """Return the session of a bundle, if its file still is the one that was verified."""
        session = Session.open(
            path, cache=self._state / "artifacts", settings=self._inputs.settings.runtime, found=self._runtimes
        )
        if session.bundle_digest != digest:
            raise BundleRefused(Reason.HASH_MISMATCH, f"{path.name} has SHA-256 {session.bundle_digest[:12]}…")
        return session

    def _swap(self, model: Model, session: Session, installed: Installed) -> str:
        """Let every input that fits answer with another bundle; WrongUse where none does.

        Returns why one that answered until now does no longer, empty where all of them go on.
        """
        lost = ""
        before, model.loaded = model.loaded, None  # a defect on the way leaves some with the one, some with the other
        for stream in model.streams:
            answered = stream.worker is not None and not stream.unfit
            if not self._inputs.take_up(stream, model, session, installed) and answered:
                lost = lost or stream.unfit
        unfit = [stream.unfit for stream in model.streams if stream.unfit]
        if unfit and len(unfit) == len(model.streams):
            model.loaded = before or (session, installed)  # else the one before answers on, or again
            raise WrongUse(unfit[0])
        model.loaded = session, installed
        self._answers(model, session, installed)
        return lost

    def _answers(self, model: Model, session: Session, installed: Installed) -> None:
        model.runtime = session.runtime
        _LOG.info("%s: release %d (%s) answers on %s",
                  model.name, installed.release_seq, installed.bundle[:12], session.runtime)  # fmt: skip

"""The persisted state of one install, `installs/<model>.json`: the updater writes it while it works, else the agent."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.phases import InstallPhase
from sprat_device.contract.twin import Installed, InstallReport, Offer, parse_offer
from sprat_device.install.probation import Probation

SCHEMA: Final = "sprat.install/1"
OFFLINE: Final = "offline"
"""Stands for the rollout of an install that somebody at the device began."""
_MAX_DETAIL: Final = 1000
_LOG: Final = logging.getLogger("sprat.install")


@dataclass(frozen=True, slots=True)
class Install:
    """The device's work on one offer."""

    phase: InstallPhase = InstallPhase.IDLE
    offer: Offer | None = None
    reason: str = ""
    detail: str = ""
    attempts: int = 0
    """How often this very release was begun."""
    runtime: str = ""
    failures: int = 0
    """Runs of the updater on this offer that ended by a fault or without memory."""
    probation: Probation = field(default_factory=Probation)

    @property
    def installed(self) -> Installed | None:
        """Return what the slots hold once this is installed."""
        return Installed(self.offer.bundle, self.offer.release_seq) if self.offer else None

    def outdoes(self, offer: Offer) -> bool:
        """Tell whether somebody at the device has brought a later release than is offered, and it goes on or is kept."""
        mine = self.offer
        lost = self.phase in (InstallPhase.REFUSED, InstallPhase.REVERTED, InstallPhase.IDLE)
        return mine is not None and mine.rollout == OFFLINE and offer.release_seq < mine.release_seq and not lost

    def because(self, reason: str, detail: str) -> Install:
        """Say why."""
        return replace(self, reason=reason, detail=detail[:_MAX_DETAIL])

    def report(self) -> InstallReport:
        """Return what the twin says of it."""
        if self.offer is None:
            return InstallReport(self.phase, reason=self.reason, detail=self.detail)
        return InstallReport(
            self.phase,
            self.offer.release_seq,
            self.offer.bundle,
            self.offer.rollout,
            self.reason,
            self.detail,
            self.attempts,
        )

    def dump(self) -> bytes:
        """Encode for the disk."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True).encode()


class Records:
    """The install records of a device."""

    def __init__(self, files: Files, state: Path) -> None:
        self._files = files
        self.folder = state / "installs"

    def load(self, model: str) -> Install:
        """Read a model's record; idle where it never had one, or it is damaged: the offer begins anew."""
        path = self.folder / f"{model}.json"
        try:
            return _parse(self._files.read(path)) if self._files.exists(path) else Install()
        except (ValueError, ContractError) as exc:  # written whole or not at all, so this is worn flash
            _LOG.error("%s cannot be read (%s), taken for idle", path, exc)
            return Install()

    def found(self, model: str) -> Install:
        """Read what a start finds: idle also where the disk does not give it, for what answers must go on."""
        try:
            return self.load(model)
        except OSError as exc:
            _LOG.error("the install of %s cannot be read (%s), taken for idle", model, exc)
            return Install()

    def store(self, model: str, install: Install) -> None:
        """Write a model's record durably."""
        self._files.make_folder(self.folder)
        self._files.write_atomic(self.folder / f"{model}.json", install.dump())


def _parse(raw: bytes) -> Install:
    fields = Fields(json.loads(raw), "install")
    fields.schema(SCHEMA)
    return Install(
        phase=fields.value("phase", lambda value: InstallPhase(str(value))),
        offer=fields.value("offer", lambda value: parse_offer(value, "offer") if value else None),
        reason=fields.text("reason"),
        detail=fields.text("detail"),
        attempts=fields.integer("attempts"),
        runtime=fields.text("runtime"),
        failures=fields.integer("failures", default=0),
        probation=fields.value("probation", _probation),
    )


def _probation(raw: object) -> Probation:
    fields = Fields(raw, "probation")
    counts = {name: fields.integer(name) for name in ("starts", "good", "bad", "slow", "slow_us")}
    weights = {name: fields.integer(name, default=0) for name in ("growth_kib", "limit_kib", "weighings", "heavy")}
    return Probation(**counts, **weights)

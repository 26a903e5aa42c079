"""What a device tells of one model: its slots, its last install, what answers, and the shadow beside it."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.contract.fields import Fields
from sprat_device.contract.ids import Digest, digest
from sprat_device.contract.phases import InstallPhase


@dataclass(frozen=True, slots=True)
class Installed:
    """One bundle on a device."""

    bundle: Digest
    release_seq: int


@dataclass(frozen=True, slots=True)
class InstallReport:
    """The device's work on the last offer of a model."""

    phase: InstallPhase = InstallPhase.IDLE
    release_seq: int = 0
    bundle: str = ""
    rollout: str = ""
    reason: str = ""
    detail: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What a device says of the shadow of one model."""

    install: InstallReport = InstallReport()
    """Its phase ends at `checked`."""
    state: str = ""
    """`starting`, `waiting` (for memory), `running`, `restarting`, `given-up`; empty where none runs."""
    running: str = ""
    """Digest of the bundle that sees the inputs right now."""
    detail: str = ""
    compared: int = 0
    """Readings that both have answered, since it was begun."""
    agreed: int = 0
    """Of those, with the same label."""
    starts: int = 0


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a device says of one model: its slots, and how the running bundle does since it was loaded."""

    active: Installed | None = None
    spare: Installed | None = None
    install: InstallReport = InstallReport()
    running: str = ""
    """Digest of the bundle whose session answers right now, empty if none does."""
    healthy: int = 0
    """Predictions of `running` without an error, since it was loaded."""
    errors: int = 0
    shadow: ShadowReport | None = None


def parse_model(raw: object, where: str) -> ModelReport:
    """Read what is told of one model, or raise ContractError."""
    fields = Fields(raw, where)
    return ModelReport(
        active=fields.value("active", parse_installed, default=None),
        spare=fields.value("spare", parse_installed, default=None),
        install=fields.value("install", _install_report, default=InstallReport()),
        running=fields.text("running", default="", max_length=64),
        healthy=fields.integer("healthy", default=0),
        errors=fields.integer("errors", default=0),
        shadow=None if fields.absent("shadow") else fields.value("shadow", _shadow_report),
    )


def parse_installed(raw: object) -> Installed | None:
    """Read what a slot holds, None for an empty one, or raise ContractError."""
    if raw is None:
        return None
    fields = Fields(raw, "slot")
    return Installed(fields.value("bundle", digest), fields.integer("release_seq"))


def _install_report(raw: object) -> InstallReport:
    fields = Fields(raw, "install")
    return InstallReport(
        phase=fields.choice("phase", InstallPhase),
        release_seq=fields.integer("release_seq", default=0),
        bundle=fields.text("bundle", default="", max_length=64),
        rollout=fields.text("rollout", default="", max_length=64),
        reason=fields.text("reason", default="", max_length=64),
        detail=fields.text("detail", default="", max_length=1024),
        attempts=fields.integer("attempts", default=0),
    )


def _shadow_report(raw: object) -> ShadowReport:
    fields = Fields(raw, "shadow")
    return ShadowReport(
        install=fields.value("install", _install_report, default=InstallReport()),
        state=fields.text("state", default="", max_length=32),
        running=fields.text("running", default="", max_length=64),
        detail=fields.text("detail", default="", max_length=1024),
        compared=fields.integer("compared", default=0),
        agreed=fields.integer("agreed", default=0),
        starts=fields.integer("starts", default=0),
    )

"""The twin: device state as the hub wants it (`sprat.desired/1`) and as the device tells it (`sprat.reported/1`).

Versions rise by one with each change. `incarnation` is a random number of the hub's store: a restored backup has
lower versions under a new incarnation, and devices take those too. Nothing in a twin is trusted to decide what may
be installed; that is signed elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from sprat_device.contract import last_errors
from sprat_device.contract.capture import Wish, parse_wish
from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, anything, text
from sprat_device.contract.ids import Channel, Digest, channel, digest
from sprat_device.contract.last_errors import LastError
from sprat_device.contract.phases import InstallPhase

DESIRED: Final = "sprat.desired/1"
REPORTED: Final = "sprat.reported/1"
MAX_SIZE: Final = 256 * 1024


class Detail(StrEnum):
    """How much telemetry a device sends; events are always sent."""

    FULL = "full"
    SAMPLED = "sampled"
    SUMMARY = "summary"


class InputMode(StrEnum):
    """Whether an input of a device is read; the device's owner decides whether the hub may say so."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Offer:
    """The hub tells a device of a release: a hint where to look, never a proof."""

    rollout: str
    channel: Channel
    release_seq: int
    target: str
    bundle: Digest
    urgent: bool = False
    """The hub's maintenance windows do not hold it up; the device's own still do."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What the hub may tune; None leaves the device's own setting."""

    detail: Detail | None = None
    daily_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """Device state as the hub wants it."""

    incarnation: str
    version: int
    offers: Mapping[str, Offer] = field(default_factory=dict)
    """Model -> the release that this device shall run."""
    shadows: Mapping[str, Offer] = field(default_factory=dict)
    """Model -> the release that sees the same inputs beside it and never answers."""
    telemetry: TelemetrySettings = TelemetrySettings()
    maintenance: Mapping[str, Any] = field(default_factory=dict)
    """As `maintenance.parse` reads it."""
    log_level: str = ""
    inputs: Mapping[str, InputMode] = field(default_factory=dict)
    """Input (`model` or `model/name`) -> whether it is read; one that is not named is as the device has it."""
    capture: Wish = field(default_factory=Wish)
    """What the hub would like to be captured, where a device lets it tune that."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Encode for the wire."""
        return _dump(DESIRED, self)


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


@dataclass(frozen=True, slots=True)
class LaneReport:
    """The ledger of one lane, in records: produced = acked + spooled + open + evicted + damaged."""

    epoch: str
    produced: int
    acked: int
    spooled: int
    open: int
    evicted: int
    damaged: int

    def balanced(self) -> bool:
        """Tell whether every record that was produced is accounted for."""
        return self.produced == self.acked + self.spooled + self.open + self.evicted + self.damaged


@dataclass(frozen=True, slots=True)
class Reported:
    """Device state as the device tells it; `applied_*` say which desired state it holds."""

    version: int
    applied_incarnation: str = ""
    applied_version: int = 0
    agent: str = ""
    boot_id: str = ""
    clock: str = ""
    channel: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, ModelReport] = field(default_factory=dict)
    ledger: Mapping[str, LaneReport] = field(default_factory=dict)
    errors: tuple[LastError, ...] = ()
    """What went wrong lately, the newest first."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Part of the desired state that this device does not follow (`inputs`, `capture`, …) -> why, and the remedy."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Encode for the wire."""
        return _dump(REPORTED, self)


@dataclass(frozen=True, slots=True)
class Presence:
    """Retained `up/presence`: the device while it is connected, the broker's last will after that."""

    online: bool
    boot_id: str = ""

    def dump(self) -> bytes:
        """Encode for the wire."""
        return json.dumps({"schema": "sprat.presence/1", **asdict(self)}).encode()


def parse_presence(raw: bytes) -> Presence:
    """Read a presence document, or raise ContractError."""
    fields = Fields(_json(raw, "presence"), "presence")
    fields.schema("sprat.presence/1")
    return Presence(fields.boolean("online"), fields.text("boot_id", default="", max_length=64))


def parse_desired(raw: bytes) -> Desired:
    """Read a desired document, or raise ContractError."""
    fields = Fields(_json(raw, "desired"), "desired")
    fields.schema(DESIRED)
    return Desired(
        incarnation=fields.text("incarnation", max_length=64),
        version=fields.integer("version"),
        offers=fields.mapping("offers", parse_offer, default={}),
        shadows=fields.mapping("shadows", parse_offer, default={}),
        capture=fields.value("capture", parse_wish, default=Wish()),
        telemetry=fields.value("telemetry", _telemetry, default=TelemetrySettings()),
        maintenance=fields.mapping("maintenance", anything, default={}),
        log_level=fields.text("log_level", default="", max_length=16),
        inputs=fields.mapping("inputs", _input_mode, default={}),
        extra=fields.rest(),
    )


def parse_offer(raw: object, where: str) -> Offer:
    """Read one offer, or raise ContractError."""
    fields = Fields(raw, where)
    return Offer(
        rollout=fields.text("rollout", max_length=64),
        channel=fields.value("channel", channel),
        release_seq=fields.integer("release_seq", minimum=1),
        target=fields.text("target", max_length=63),
        bundle=fields.value("bundle", digest),
        urgent=fields.boolean("urgent", default=False),
    )


def parse_reported(raw: bytes) -> Reported:
    """Read a reported document, or raise ContractError."""
    fields = Fields(_json(raw, "reported"), "reported")
    fields.schema(REPORTED)
    return Reported(
        version=fields.integer("version"),
        applied_incarnation=fields.text("applied_incarnation", default="", max_length=64),
        applied_version=fields.integer("applied_version", default=0),
        agent=fields.text("agent", default="", max_length=64),
        boot_id=fields.text("boot_id", default="", max_length=64),
        clock=fields.text("clock", default="", max_length=32),
        channel=fields.text("channel", default="", max_length=63),
        facts=fields.mapping("facts", anything, default={}),
        models=fields.mapping("models", _model_report, default={}),
        ledger=fields.mapping("ledger", _lane_report, default={}),
        errors=last_errors.parse_all(fields, "errors"),
        refused=fields.mapping("refused", text, default={}),
        extra=fields.rest(),
    )


def _telemetry(raw: object) -> TelemetrySettings:
    fields = Fields(raw, "telemetry")
    return TelemetrySettings(
        # null leaves the device's own setting
        detail=fields.choice("detail", Detail) if _given(raw, "detail") else None,
        daily_bytes=fields.integer("daily_bytes") if _given(raw, "daily_bytes") else None,
    )


def _input_mode(raw: object, where: str) -> InputMode:
    return Fields({where: raw}, "").choice(where, InputMode)


def _given(raw: object, key: str) -> bool:
    return isinstance(raw, Mapping) and raw.get(key) is not None


def _installed(raw: object) -> Installed | None:
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


def _model_report(raw: object, where: str) -> ModelReport:
    fields = Fields(raw, where)
    return ModelReport(
        active=fields.value("active", _installed, default=None),
        spare=fields.value("spare", _installed, default=None),
        install=fields.value("install", _install_report, default=InstallReport()),
        running=fields.text("running", default="", max_length=64),
        healthy=fields.integer("healthy", default=0),
        errors=fields.integer("errors", default=0),
        shadow=None if fields.absent("shadow") else fields.value("shadow", _shadow_report),
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


def _lane_report(raw: object, where: str) -> LaneReport:
    fields = Fields(raw, where)
    names = ("produced", "acked", "spooled", "open", "evicted", "damaged")
    return LaneReport(text(fields.text("epoch", max_length=16), where), *(fields.integer(name) for name in names))


def _dump(schema: str, document: Desired | Reported) -> bytes:
    plain = {**document.extra, "schema": schema, **{k: v for k, v in asdict(document).items() if k != "extra"}}
    return json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()


def _json(raw: bytes, what: str) -> object:
    if len(raw) > MAX_SIZE:
        raise ContractError(f"{what} of {len(raw)} bytes, at most {MAX_SIZE} are allowed")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ContractError(f"{what}: not JSON ({exc})") from exc

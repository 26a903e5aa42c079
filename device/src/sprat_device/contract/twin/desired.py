"""Device state as the hub wants it, `sprat.desired/1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from sprat_device.contract.capture import Wish, parse_wish
from sprat_device.contract.fields import Fields, anything
from sprat_device.contract.ids import Channel, Digest, channel, digest
from sprat_device.contract.twin import document

SCHEMA: Final = "sprat.desired/1"


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
        return document.dump(SCHEMA, asdict(self))


def parse_desired(raw: bytes) -> Desired:
    """Read a desired document, or raise ContractError."""
    fields = document.parse(raw, "desired", SCHEMA)
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

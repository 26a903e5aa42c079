"""The values that `fleet.db` holds, as the rest of the hub sees them; times are microseconds since 1970, 0 is never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName


class Role(StrEnum):
    """What a person or a token may do; each role may also do what stands before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Tell whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Device:
    """A member of the fleet."""

    id: DeviceId
    channel: Channel
    models: tuple[ModelName, ...]
    labels: Mapping[str, str]
    enrolled_us: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What it told at enrolment; the reported twin has the newer ones."""
    revoked_us: int = 0
    online: bool = False
    boot_id: str = ""
    presence_us: int = 0
    seen_us: int = 0
    """Arrival of its last presence or reported twin."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that the hub issued to a device."""

    serial: str
    device: DeviceId
    key_sha256: str
    pem: str
    issued_us: int
    expires_us: int
    revoked_us: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A one-time right to enrol; the secret itself is not kept."""

    secret_sha256: str
    device: str
    """The id that it is bound to; empty lets the device ask for one."""
    labels: Mapping[str, str]
    channel: Channel
    models: tuple[ModelName, ...]
    made_us: int
    expires_us: int
    made_by: str
    used_us: int = 0
    used_by: str = ""
    key_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """A person who may use the console; `password` is an argon2 hash."""

    name: str
    password: str
    role: Role
    made_us: int


@dataclass(frozen=True, slots=True)
class WebSession:
    """A login that is in use in one browser."""

    login: str
    role: Role
    csrf: str
    made_us: int
    used_us: int


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A right for programs."""

    name: str
    role: Role
    made_us: int
    revoked_us: int = 0


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, when; `detail` has the state before and after where something changed."""

    seq: int
    at_us: int
    who: str
    action: str
    subject: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PublishedRelease:
    """One bundle of a release in one channel, as the repository lists it."""

    channel: Channel
    model: ModelName
    release_seq: int
    target: str
    bundle: Digest
    size: int
    signed: Mapping[str, Any]
    """The signed entry (`sprat.release/1`)."""
    manifest: Mapping[str, Any]
    measured: Mapping[str, Any]
    accepted_us: int
    accepted_by: str
    withdrawn_us: int = 0

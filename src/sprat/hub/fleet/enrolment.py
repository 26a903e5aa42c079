"""How a device joins the fleet and leaves it: one-time tokens, certificates, revocation.

A token works once, for a short time; the same key asking twice with it gets the same answer, because an answer may be
lost on the way. An id that is taken stays taken until its device is revoked.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sprat.errors import Refused, WrongUse
from sprat.hub.errors import NotFound
from sprat.hub.fleet import identity
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rows import Certificate, Device, Token
from sprat_device.contract.enrolment import EnrolRequest, EnrolToken
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName, device_id

LONGEST_TOKEN: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token gives to the device that uses it; an empty id lets the device ask for one."""

    channel: Channel
    models: tuple[ModelName, ...]
    device: str = ""
    labels: Mapping[str, str] | None = None
    life: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Joined:
    """A device with its certificate; `returned` if its id had been revoked before."""

    device: Device
    certificate: Certificate
    returned: bool = False


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Makes tokens, turns them into certificates, takes those back."""

    store: FleetStore
    authority: identity.Authority
    now_us: Callable[[], int]

    def make_token(self, wanted: Wanted, root_sha256: Digest, who: str) -> EnrolToken:
        """Make a one-time token; only its hash is kept."""
        if not wanted.models:
            raise WrongUse("enrolment token: names no model; give at least one with --model")
        if not timedelta(0) < wanted.life <= LONGEST_TOKEN:
            raise WrongUse(f"enrolment token: life {wanted.life}, expected more than 0 and at most {LONGEST_TOKEN}")
        if wanted.device:
            self._require_free(device_id(wanted.device))
        now_us = self.now_us()
        token = EnrolToken(secrets.token_urlsafe(24), Digest(self.authority.sha256), root_sha256)
        kept = Token(
            secret_sha256=_sha256(token.secret),
            device=wanted.device,
            labels=dict(wanted.labels or {}),
            channel=wanted.channel,
            models=wanted.models,
            made_us=now_us,
            expires_us=now_us + int(wanted.life.total_seconds() * 1e6),
            made_by=who,
        )
        with self.store.transaction():
            self.store.tokens.add(kept)
            self.store.audit.add(who, "token.make", wanted.device or "*", now_us, {"channel": wanted.channel})
        return token

    def enrol(self, request: EnrolRequest) -> Joined:
        """Turn a token and a signing request into a certificate, all or nothing."""
        key = identity.requested_key(request.csr)
        key_sha256 = identity.key_sha256(key)
        now_us = self.now_us()
        with self.store.transaction():
            token = self._token(request, key_sha256, now_us)
            if token.used_us:
                return self._again(token)
            device = self._new_device(request, token, now_us)
            returned = self.store.devices.get(device.id) is not None
            certificate = self.certify(device.id, key)
            self.store.devices.add(device)
            self.store.certificates.add(certificate)
            self.store.tokens.use(token.secret_sha256, device=device.id, key_sha256=key_sha256, now_us=now_us)
            self.store.audit.add(device.id, "device.enrol", device.id, now_us, {"serial": certificate.serial})
        return Joined(device, certificate, returned)

    def revoke(self, device: DeviceId, who: str) -> None:
        """Take a device's right to be here; the caller tells the broker."""
        now_us = self.now_us()
        with self.store.transaction():
            if self.store.devices.get(device) is None:
                raise NotFound(f"device {device!r}: not in the fleet; `sprat fleet list` shows who is")
            self.store.devices.revoke(device, now_us)
            self.store.desired.remove(device)
            self.store.reported.remove(device)
            self.store.audit.add(who, "device.revoke", device, now_us)

    def revocation_list(self) -> bytes:
        """Return the CRL as of now."""
        serials = [certificate.serial for certificate in self.store.certificates.revoked()]
        return self.authority.revocation_list(serials, _moment(self.now_us()))

    def admits(self, device: str, serial: str, *, grace: timedelta = timedelta(0)) -> Device | None:
        """Return the device of a certificate that our CA signed, or None: it was revoked, or ended `grace` ago."""
        certificate = self.store.certificates.get(serial)
        if certificate is None or certificate.revoked_us or certificate.device != device:
            return None
        if self.now_us() >= certificate.expires_us + int(grace.total_seconds() * 1e6):
            return None  # TLS on the device port leaves this question to us
        found = self.store.devices.get(certificate.device)
        return found if found and not found.revoked_us else None

    def _token(self, request: EnrolRequest, key_sha256: str, now_us: int) -> Token:
        token = self.store.tokens.get(_sha256(request.secret))
        make_another = "make another with `sprat enrol token`"
        if token is None:
            raise Refused("token-unknown", f"enrolment token: this hub did not make it; {make_another}")
        if token.used_us and token.key_sha256 != key_sha256:
            raise Refused("token-used", f"enrolment token: used already by another key; {make_another}")
        if not token.used_us and now_us > token.expires_us:
            raise Refused("token-expired", f"enrolment token: expired; {make_another}")
        if token.device and request.device and token.device != request.device:
            raise Refused(
                "token-bound",
                f"enrolment token: bound to {token.device!r}, {request.device!r} was asked for; leave it out",
            )
        return token

    def _again(self, token: Token) -> Joined:
        device = self.store.devices.get(DeviceId(token.used_by))
        certificate = self.store.certificates.for_key(DeviceId(token.used_by), token.key_sha256)
        if device is None or device.revoked_us or certificate is None:
            raise Refused("device-revoked", f"device {token.used_by!r} was revoked; make another token")
        return Joined(device, certificate)

    def _new_device(self, request: EnrolRequest, token: Token, now_us: int) -> Device:
        wanted = token.device or request.device or f"sprat-{secrets.token_hex(4)}"
        device = device_id(wanted)
        self._require_free(device)
        if not token.device and self.store.devices.get(device) is not None:
            # Else any token of the fleet would do to step into the place of a device that was lost.
            raise Refused(
                "id-was-used",
                f"device id {device!r} belonged to a device; make a token for it: sprat enrol replace {device}",
            )
        return Device(device, token.channel, token.models, token.labels, now_us, facts=request.facts)

    def _require_free(self, device: DeviceId) -> None:
        found = self.store.devices.get(device)
        if found is not None and not found.revoked_us:
            raise Refused("id-taken", f"device id {device!r} is taken; revoke it first (`sprat enrol revoke {device}`)")

    def certify(self, device: DeviceId, key: ec.EllipticCurvePublicKey) -> Certificate:
        """Make a certificate; the caller keeps it."""
        now_us = self.now_us()
        issued = self.authority.issue_device(device, key, _moment(now_us))
        return Certificate(
            serial=identity.serial_of(issued),
            device=device,
            key_sha256=identity.key_sha256(key),
            pem=issued.public_bytes(serialization.Encoding.PEM).decode(),
            issued_us=now_us,
            expires_us=int(issued.not_valid_after_utc.timestamp() * 1e6),
        )


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _moment(now_us: int) -> datetime:
    return datetime.fromtimestamp(now_us / 1e6, UTC)

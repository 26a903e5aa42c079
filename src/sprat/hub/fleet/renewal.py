"""A new certificate for a device that shows its old one: the same key, the same id, another end.

Asking too early, or again because an answer was lost, gives the newest certificate that there is. The old one stays
good until its own end: the device may lose power before it has kept the new one.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

from sprat.errors import Refused
from sprat.hub.fleet import identity
from sprat.hub.fleet.enrolment import Enrolment
from sprat.hub.store.rows import Certificate
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.renewal import RenewRequest


def renew(enrolment: Enrolment, device: DeviceId, serial: str, request: RenewRequest) -> Certificate:
    """Return the certificate that follows the one with that serial number, which the caller has found admitted."""
    key = identity.requested_key(request.csr)
    store, now_us = enrolment.store, enrolment.now_us()
    with store.transaction():
        shown = store.certificates.get(serial)
        key_sha256 = identity.key_sha256(key)
        if shown is None or shown.key_sha256 != key_sha256:
            raise Refused(
                "another-key", f"renewal: the request is of another key than {device!r} shows; enrol it again"
            )
        newest = store.certificates.for_key(device, key_sha256)
        if newest is not None and not _half_over(newest, now_us):
            return newest
        return _issue(enrolment, device, key, replaces=serial)


def _half_over(certificate: Certificate, now_us: int) -> bool:
    return 2 * (now_us - certificate.issued_us) >= certificate.expires_us - certificate.issued_us


def _issue(enrolment: Enrolment, device: DeviceId, key: ec.EllipticCurvePublicKey, *, replaces: str) -> Certificate:
    made = enrolment.certify(device, key)
    enrolment.store.certificates.add(made)
    detail = {"serial": made.serial, "replaces": replaces}
    enrolment.store.audit.add(device, "device.renew", device, made.issued_us, detail)
    return made

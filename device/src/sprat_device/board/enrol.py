"""Getting an identity from a hub.

Enrolling trusts nothing blindly: CA and signing root are fetched without trust and compared with the hashes that the
one-time token carries; only then is the signing request sent, over TLS that this CA verifies. The key never leaves the
device. `identity.json` is written last, so a half-done enrolment is no identity; the same key is offered again.

It needs the X.509 library, which takes 8 MB: the agent must not load this module.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from sprat_device.board import certificates, pinned
from sprat_device.board.arch import arch
from sprat_device.board.files import Files, OsFiles
from sprat_device.board.identity import Identity, store
from sprat_device.board.pinned import EnrolRefused
from sprat_device.contract import enrolment
from sprat_device.contract.errors import ContractError
from sprat_device.contract.ids import device_id

__all__ = ["EnrolRefused", "enrol"]
_UNKNOWN_NAME: Final = "device"


def enrol(hub_url: str, token: str, state: Path, device: str = "", *, files: Files | None = None) -> Identity:
    """Get an identity from a hub and pin it, or raise EnrolRefused or HubUnreachable."""
    files = files or OsFiles()
    wanted = device_id(device) if device else ""
    secret = enrolment.parse_token(token)
    url = pinned.require_https(hub_url)
    ca, root = pinned.fetch(url, secret)
    folder = state / "identity"
    files.make_folder(folder)
    key = _key(folder / "device.key", files)
    csr = certificates.signing_request(key, wanted or _UNKNOWN_NAME)
    facts = {"arch": arch(), "python": platform.python_version()}
    answer = _ask(url, enrolment.EnrolRequest(secret.secret, wanted, csr, facts), ca)
    certificate = _checked_certificate(answer, key)
    identity = Identity(
        answer.device, url, answer.mqtt_host, answer.mqtt_port, answer.channel, tuple(answer.models), folder
    )
    files.write_atomic(identity.ca, ca)
    files.write_atomic(identity.root, root)
    files.write_atomic(identity.certificate, certificate)
    store(identity, files)
    return identity


def _ask(url: str, request: enrolment.EnrolRequest, ca: bytes) -> enrolment.EnrolAnswer:
    raw = pinned.request(pinned.context(ca), "POST", url + enrolment.ENROL_PATH, request.dump())
    try:
        return enrolment.parse_answer(json.loads(raw))
    except (ValueError, ContractError) as exc:
        raise EnrolRefused(f"{url} gave an answer that is none ({exc}); do both sides have the same version?") from exc


def _key(path: Path, files: Files) -> EllipticCurvePrivateKey:
    """Load the device's key, or make it: the same key again makes a repeated enrolment give the same answer."""
    return certificates.load_key(path, files) if files.exists(path) else certificates.make_key(path, files)


def _checked_certificate(answer: enrolment.EnrolAnswer, key: EllipticCurvePrivateKey) -> bytes:
    """Return the certificate if it is for this key and says the device's id."""
    pem = answer.certificate.encode()
    try:
        certificates.life_of_ours(pem, device=answer.device, key=key)
    except ValueError as exc:
        raise EnrolRefused(f"the hub sent a certificate that is not this device's ({exc})") from exc
    return pem

"""Getting an identity from a hub.

Enrolling trusts nothing blindly: CA and signing root are fetched without trust and compared with the hashes that the
one-time token carries; only then is the signing request sent, over TLS that this CA verifies. The key never leaves the
device. `identity.json` is written last, so a half-done enrolment is no identity; the same key is offered again.

Only this module needs the X.509 library, which takes 8 MB: the agent must not load it.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sprat_device.board import pinned
from sprat_device.board.arch import arch
from sprat_device.board.files import Files, OsFiles
from sprat_device.board.identity import Identity, store
from sprat_device.board.pinned import EnrolRefused
from sprat_device.contract import enrolment
from sprat_device.contract.errors import ContractError, MachineLacks
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
    csr = _signing_request(key, wanted)
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


def _key(path: Path, files: Files) -> ec.EllipticCurvePrivateKey:
    """Load the device's key, or make it: the same key again makes a repeated enrolment give the same answer."""
    if files.exists(path):
        try:
            found = serialization.load_pem_private_key(files.read(path), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise MachineLacks(f"{path} is damaged ({exc}); remove it and enrol again") from exc
        if isinstance(found, ec.EllipticCurvePrivateKey):
            return found
        raise MachineLacks(f"{path}: found a {type(found).__name__}, expected an EC key; remove it and enrol again")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files.write_atomic(path, pem)  # Files writes with mode 0600
    path.chmod(0o600)
    return key


def _signing_request(key: ec.EllipticCurvePrivateKey, device: str) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device or _UNKNOWN_NAME)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _checked_certificate(answer: enrolment.EnrolAnswer, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the certificate if it is for this key and says the device's id."""
    pem = answer.certificate.encode()
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise EnrolRefused(f"the hub sent no certificate ({exc})") from exc
    names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [answer.device] or certificate.public_key() != key.public_key():
        raise EnrolRefused(f"the hub sent a certificate for {names}, expected {answer.device!r} with this device's key")
    return pem

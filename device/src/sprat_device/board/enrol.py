"""Getting an identity from a hub.

Enrolling trusts nothing blindly: CA and signing root are fetched without trust and compared with the hashes that the
one-time token carries; only then is the signing request sent, over TLS that this CA verifies. The key never leaves the
device. `identity.json` is written last, so a half-done enrolment is no identity; the same key is offered again.

Only this module needs the X.509 library, which takes 8 MB: the agent must not load it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import ssl
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sprat_device.board.files import Files, OsFiles
from sprat_device.board.identity import Identity, store
from sprat_device.contract import enrolment
from sprat_device.contract.errors import ContractError, HubUnreachable, MachineLacks, SpratError, WrongUse
from sprat_device.contract.ids import device_id

_MAX_ANSWER: Final = 512 * 1024
_TIMEOUT_S: Final = 30
_UNKNOWN_NAME: Final = "device"


class EnrolRefused(SpratError):
    """The hub, or what it showed, does not fit the token; another token is needed."""

    exit_code = 1


def enrol(hub_url: str, token: str, state: Path, device: str = "", *, files: Files | None = None) -> Identity:
    """Get an identity from a hub and pin it, or raise EnrolRefused or HubUnreachable."""
    files = files or OsFiles()
    wanted = device_id(device) if device else ""
    secret = enrolment.parse_token(token)
    url = hub_url.rstrip("/")
    if not url.startswith("https://"):
        raise WrongUse(f"hub address {hub_url!r}: expected https://HOST:PORT, the hub's device port")
    ca, root = _pinned(url, secret)
    folder = state / "identity"
    files.make_folder(folder)
    key = _key(folder / "device.key", files)
    csr = _signing_request(key, wanted)
    facts = {"arch": platform.machine(), "python": platform.python_version()}
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


def _pinned(url: str, token: enrolment.EnrolToken) -> tuple[bytes, bytes]:
    """Fetch CA and signing root without trust, and compare them with the token."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is believed here but the token's hashes
    ca = _request(context, "GET", url + enrolment.CA_PATH)
    root = _request(context, "GET", url + enrolment.ROOT_PATH)
    try:
        der = x509.load_pem_x509_certificate(ca).public_bytes(serialization.Encoding.DER)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise EnrolRefused(f"{url} shows no CA certificate ({exc}); is this the hub's device port?") from exc
    for what, data, expected in (("CA", der, token.ca_sha256), ("signing root", root, token.root_sha256)):
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise EnrolRefused(
                f"{url} shows a {what} with SHA-256 {found[:12]}…, the token names {expected[:12]}…; "
                "this is not the hub that made the token, or its keys changed: get a new token"
            )
    return ca, root


def _ask(url: str, request: enrolment.EnrolRequest, ca: bytes) -> enrolment.EnrolAnswer:
    context = ssl.create_default_context(cadata=ca.decode("ascii"))
    raw = _request(context, "POST", url + enrolment.ENROL_PATH, request.dump())
    try:
        return enrolment.parse_answer(json.loads(raw))
    except (ValueError, ContractError) as exc:
        raise EnrolRefused(f"{url} gave an answer that is none ({exc}); do both sides have the same version?") from exc


def _request(context: ssl.SSLContext, method: str, url: str, body: bytes | None = None) -> bytes:
    parts = urlsplit(url)
    connection = HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=_TIMEOUT_S)
    try:
        connection.request(method, parts.path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read(_MAX_ANSWER + 1)
    except (HTTPException, OSError) as exc:
        raise HubUnreachable(f"{url}: no answer ({_reason(exc)}); is the hub running and the address right?") from exc
    finally:
        connection.close()
    if response.status in (200, 201) and len(data) <= _MAX_ANSWER:
        return data
    if 400 <= response.status < 500:
        raise EnrolRefused(f"{url} refused ({response.status}): {_sentence(data)}")
    raise HubUnreachable(f"{url} answered {response.status}: {_sentence(data)}")


def _reason(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]


def _sentence(data: bytes) -> str:
    """Return the hub's own sentence from an error answer, else the answer's beginning."""
    try:
        said = str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = data.decode("utf-8", "replace")
    return " ".join(said.split())[:300]


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

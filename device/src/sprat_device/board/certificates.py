"""The device's key and its certificates, with the X.509 library: for short-lived processes, the agent must not load it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sprat_device.board.files import Files
from sprat_device.contract.errors import MachineLacks
from sprat_device.contract.ids import DeviceId


@dataclass(frozen=True, slots=True)
class Life:
    """When a certificate begins and ends, in microseconds since 1970."""

    begins_us: int
    ends_us: int


def load_key(path: Path, files: Files) -> ec.EllipticCurvePrivateKey:
    """Read the device's key, or raise MachineLacks."""
    try:
        found = serialization.load_pem_private_key(files.read(path), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise MachineLacks(f"{path} is damaged ({exc}); remove it and enrol again") from exc
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise MachineLacks(f"{path}: found a {type(found).__name__}, expected an EC key; remove it and enrol again")
    return found


def make_key(path: Path, files: Files) -> ec.EllipticCurvePrivateKey:
    """Make the device's key and write it for the agent alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files.write_atomic(path, pem)  # Files writes with mode 0600
    path.chmod(0o600)
    return key


def signing_request(key: ec.EllipticCurvePrivateKey, device: str) -> str:
    """Return a signing request in PEM; the hub takes the key from it, and the name from what it knows."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode("ascii")


def life_of(pem: bytes) -> Life:
    """Return the life of a certificate in PEM, or raise ValueError."""
    return _life(_parse(pem))


def life_of_ours(pem: bytes, *, device: DeviceId, key: ec.EllipticCurvePrivateKey) -> Life:
    """Return the life of a certificate if it is for this key and names this device alone, or raise ValueError."""
    certificate = _parse(pem)
    names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [device] or certificate.public_key() != key.public_key():
        raise ValueError(f"it is for {names}, expected {device!r} with this device's key")
    return _life(certificate)


def _parse(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except UnsupportedAlgorithm as exc:
        raise ValueError(str(exc)) from exc


def _life(certificate: x509.Certificate) -> Life:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Life(round(begins.timestamp()) * 1_000_000, round(ends.timestamp()) * 1_000_000)

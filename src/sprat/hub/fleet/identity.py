"""The fleet's certificate authority: ECDSA P-256, one CA, certificates for the hub's own parts and for devices.

A device's certificate carries its id as the only common name; the broker and the device port know it by that. The
hub's names stand in the certificate of its ports. Times are arguments.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sprat.errors import ContractError, SpratError
from sprat.hub.folder import KeyPair, write_private
from sprat_device.contract.ids import DeviceId

CA_LIFE: Final = timedelta(days=365 * 20)
HUB_LIFE: Final = timedelta(days=365 * 2)
DEVICE_LIFE: Final = timedelta(days=365 * 2)
CRL_LIFE: Final = timedelta(days=30)
_BACKDATE: Final = timedelta(days=1)  # clocks of devices are late more often than they are right


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str, now: datetime) -> Self:
        """Make a new CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        builder = (
            _builder(subject, subject, key.public_key(), now, CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, pair: KeyPair) -> Self:
        """Read a CA from its files."""
        try:
            key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
            certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        except (OSError, ValueError) as exc:
            raise SpratError(f"certificate authority {pair.certificate}: {exc}; restore the hub's folder") from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SpratError(f"{pair.key}: not an elliptic curve key; restore the hub's folder")
        return cls(certificate, key)

    def save(self, pair: KeyPair) -> None:
        """Write certificate and key."""
        write_private(pair.key, _private_pem(self.key))
        write_private(pair.certificate, self.pem)

    @property
    def pem(self) -> bytes:
        """Return the CA's certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the CA's certificate (DER), as tokens carry it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def issue_device(self, device: DeviceId, public_key: ec.EllipticCurvePublicKey, now: datetime) -> x509.Certificate:
        """Certify that this key is that device's."""
        return self._leaf(device, public_key, now, DEVICE_LIFE, (), server=False)

    def issue_own(self, name: str, names: Sequence[str], now: datetime, pair: KeyPair) -> None:
        """Make and write key and certificate of one part of the hub; with names it may be a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._leaf(name, key.public_key(), now, HUB_LIFE, names, server=bool(names))
        write_private(pair.key, _private_pem(key))
        write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))

    def revocation_list(self, serials: Sequence[str], now: datetime) -> bytes:
        """Return the CRL in PEM; it must be renewed within CRL_LIFE, an expired one locks everyone out."""
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=self.certificate.subject, last_update=now - _BACKDATE, next_update=now + CRL_LIFE
        ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder(int(serial, 16), now).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _leaf(
        self, name: str, public_key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta, names: Sequence[str],
        *, server: bool,
    ) -> x509.Certificate:  # fmt: skip
        issuer = self.certificate.subject
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])
        builder = (
            _builder(_name(name), issuer, public_key, now, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())


def requested_key(csr: str) -> ec.EllipticCurvePublicKey:
    """Return the public key of a signing request whose sender has shown to hold the private one."""
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as exc:
        raise ContractError("enrol request: the CSR is not a PEM certificate request; enrol again") from exc
    if not valid:
        raise ContractError("enrol request: the CSR is not signed by its own key; enrol again")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ContractError("enrol request: expected an ECDSA P-256 key in the CSR; upgrade the agent")
    return key


def key_sha256(key: ec.EllipticCurvePublicKey) -> str:
    """Return a short name of a public key."""
    plain = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(plain)
    return digest.finalize().hex()


def serial_of(certificate: x509.Certificate) -> str:
    """Return a serial number as the hub keeps it."""
    return f"{certificate.serial_number:x}"


def names_of(pair: KeyPair) -> tuple[frozenset[str], datetime]:
    """Return the names in a certificate of the hub's and when it expires."""
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return frozenset(str(name.value) for name in found), certificate.not_valid_after_utc


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    now = now.astimezone(UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer, subject_name=subject, public_key=key, serial_number=x509.random_serial_number(),
        not_valid_before=now - _BACKDATE, not_valid_after=now + life,
    )  # fmt: skip


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

"""A real mosquitto for tests: TLS with client certificates, and the rights that the contract names."""

from __future__ import annotations

import datetime
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sprat_device.board import tls
from sprat_device.contract import topics

_DAYS = (-1.0, 1.0)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class TestAuthority:
    """A certificate authority in a folder."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign("test CA", self._key.public_key(), is_ca=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, common: str, *, days: tuple[float, float] = _DAYS) -> tuple[Path, Path]:
        """Make a certificate and a key for a name, valid for localhost too, from and to so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(common, key.public_key(), is_ca=False, days=days)
        paths = self._folder / f"{common}.crt", self._folder / f"{common}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def context(self, common: str) -> ssl.SSLContext:
        """Return the client side's TLS context of a name."""
        certificate, key = self.issue(common)
        return tls.context(ca=self.ca, certificate=certificate, key=key, trusted_us=lambda: 0)

    def _sign(
        self, common: str, public_key: ec.EllipticCurvePublicKey, *, is_ca: bool, days: tuple[float, float] = _DAYS
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        issuer = "test CA"
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common))
            .issuer_name(_name(issuer))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


@dataclass
class Mosquitto:
    """One broker that can be killed and started again on the same port and folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it and wait until it listens."""
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen(
                [_program(), "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "mosquitto.log").read_text(encoding="utf-8"))

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _program() -> str:
    found = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("mosquitto is not installed")
    return found


def make_plain_broker(folder: Path) -> Mosquitto:
    """Configure a site's own broker on a free port of this machine: no TLS, anybody may; it is not started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n", encoding="ascii"
    )
    return Mosquitto(folder, port)


def make_broker(folder: Path, authority: TestAuthority, *, days: tuple[float, float] = _DAYS) -> Mosquitto:
    """Configure a broker on a free port, with a certificate for those days; it is not started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    certificate, key = authority.issue("localhost", days=days)
    (folder / "acl").write_text(
        "\n".join(["user hub", *topics.hub_rights(), "", *topics.rights(), ""]), encoding="ascii"
    )
    (folder / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\ncafile {authority.ca}\ncertfile {certificate}\nkeyfile {key}\n"
        "require_certificate true\nuse_identity_as_username true\nallow_anonymous false\n"
        f"acl_file {folder / 'acl'}\nuser root\n",
        encoding="ascii",
    )
    return Mosquitto(folder, port)

"""A hub without processes and ports: real stores, CA and repository in a folder, a broker that only remembers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.samples import no_passphrase

from sprat.hub import founding
from sprat.hub.fleet.enrolment import Enrolment, Wanted
from sprat.hub.fleet.identity import Authority
from sprat.hub.fleet.logins import People
from sprat.hub.fleet.twins import Twins
from sprat.hub.folder import Endpoint, HubFolder
from sprat.hub.releases import ReleaseDesk
from sprat.hub.rollouts.dispatch import Dispatcher
from sprat.hub.services import Services
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rollouts import RolloutStore
from sprat.hub.store.rows import Device, Role
from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore
from sprat.publish import keys as signing
from sprat.publish.repository import initial_metadata
from sprat_device.contract.enrolment import EnrolRequest, EnrolToken
from sprat_device.contract.ids import Channel, DeviceId, ModelName

START_US = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp() * 1e6)


@dataclass
class HandClock:
    """The hub's clock, moved by hand."""

    now_us: int = START_US

    def __call__(self) -> int:
        return self.now_us

    def advance(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)


@dataclass
class RememberingBroker:
    """The Broker port: remembers whom it was told to refuse."""

    kind: str = "remembering"
    endpoint: Endpoint = field(default_factory=lambda: Endpoint("127.0.0.1", 8883))
    pid: int = 0
    refused: list[tuple[DeviceId, ...]] = field(default_factory=list)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def alive(self) -> bool:
        return True

    def refuse(self, devices: Iterable[DeviceId], crl: bytes) -> None:
        x509.load_pem_x509_crl(crl)
        self.refused.append(tuple(devices))


@dataclass
class TestHub:
    """Services with what tests look at."""

    __test__ = False

    services: Services
    clock: HandClock
    broker: RememberingBroker
    sent: list[tuple[str, bytes]]
    admin_token: str
    password: str

    def token(self, role: Role) -> str:
        return self.services.people.make_token(role, role, "test")

    def add_device(self, name: str, **labels: str) -> DeviceId:
        device = Device(DeviceId(name), Channel("canary"), (ModelName("digits"),), labels, self.clock())
        self.services.store.devices.add(device)
        return device.id

    def enrol_token(self, device: str = "", *, models: tuple[str, ...] = ("digits",)) -> EnrolToken:
        wanted = Wanted(Channel("canary"), tuple(map(ModelName, models)), device=device)
        return self.services.enrolment.make_token(wanted, self.services.releases.root_sha256(), "test")


@dataclass(frozen=True)
class FoundedHub:
    """A hub's folder on disk, with what `hub init` told."""

    root: Path
    password: str
    keys: Path

    def copy(self, to: Path) -> FoundedHub:
        """Return the same hub in another folder: making one anew costs a password hash and many keys."""
        shutil.copytree(self.root, to / "hub")
        return FoundedHub(to / "hub", self.password, self.keys)


def found_hub(folder: Path, *, signed: bool = True) -> FoundedHub:
    """Make a hub below a folder; `signed` gives it a signing root."""
    made = founding.found(folder / "hub", ["hub.test"], datetime.now(UTC))
    founded = FoundedHub(made.folder.root, made.password, folder / "hub-keys")
    if signed:
        with open_hub(founded) as hub:
            give_signing_root(hub.services, founded.keys)
    return founded


@contextmanager
def open_hub(founded: FoundedHub) -> Iterator[TestHub]:
    """Put the services of a hub together."""
    clock = HandClock()
    paths = HubFolder.existing(founded.root)
    with FleetStore(paths.fleet_db) as store, TelemetryStore(paths.root / FILE_NAME) as telemetry:
        sent: list[tuple[str, bytes]] = []

        def publish(topic: str, payload: bytes, *, retain: bool) -> bool:
            assert retain
            sent.append((topic, payload))
            return True

        broker = RememberingBroker()
        twins = Twins(store, publish, clock)
        rollouts = RolloutStore(store)
        services = Services(
            folder=paths, store=store, telemetry=telemetry, people=People(store, clock),
            enrolment=Enrolment(store, Authority.load(paths.authority), clock), twins=twins,
            releases=ReleaseDesk(paths, store, clock), rollouts=rollouts,
            dispatcher=Dispatcher(store, rollouts, telemetry, twins, clock), broker=broker,
            names=founding.names(store), now_us=clock,
        )  # fmt: skip
        yield TestHub(services, clock, broker, sent, paths.admin_token.read_text().strip(), founded.password)


def give_signing_root(services: Services, keys_folder: Path) -> signing.KeyFolder:
    """Make a publisher's keys and found the hub's repository with them."""
    keys = signing.KeyFolder.create(keys_folder, passphrase=no_passphrase, simple=True)
    online = signing.parse_public(services.releases.online_key())
    metadata = initial_metadata(keys, online, passphrase=no_passphrase, now=datetime.now(UTC))
    services.releases.found(metadata, "test")
    return keys


@dataclass
class Applicant:
    """A device's side of enrolment: a key of its own."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def csr(self, name: str = "anything") -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        request = x509.CertificateSigningRequestBuilder(subject).sign(self.key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def request(self, secret: str, device: str = "") -> EnrolRequest:
        return EnrolRequest(secret, device, self.csr())

    def write_key(self, path: Path) -> Path:
        path.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


def documents(sent: list[tuple[str, bytes]]) -> list[tuple[str, object]]:
    """Return what was sent, parsed; None for a retained message that was cleared."""
    return [(topic, json.loads(payload) if payload else None) for topic, payload in sent]

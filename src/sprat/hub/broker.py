"""The broker of the fleet: a mosquitto that the hub manages, with TLS, client certificates and rights per device.

The common name of a certificate is user name and client id at once, so nobody takes over another's session. Everything
but a device's own `up` (write) and `down` (read) is refused. Revoking rewrites rights and CRL and sends HUP.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Final, Protocol

from sprat.errors import MachineLacks
from sprat.hub.folder import Endpoint, HubFolder, write_private
from sprat.hub.ports import require_free
from sprat.hub.processes import Child
from sprat_device.contract import topics
from sprat_device.contract.frame import MAX_CAPTURE_BODY
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.topics import Kind

_log = logging.getLogger(__name__)
HUB_USER: Final = "hub"
INGEST_USER: Final = "ingest"
QUEUED_MESSAGES: Final = 1000
"""Per client that is away; a device's spool keeps what the broker would drop."""
_READY_S: Final = 15.0


class Broker(Protocol):
    """What carries messages between the hub and its devices."""

    @property
    def kind(self) -> str:
        """Name the program."""

    @property
    def endpoint(self) -> Endpoint:
        """Return where it listens."""

    @property
    def pid(self) -> int:
        """Return its process id."""

    def start(self) -> None:
        """Start it, or adopt what an earlier hub left; returns when it listens."""

    def alive(self) -> bool:
        """Tell whether it runs."""

    def refuse(self, devices: Iterable[DeviceId], crl: bytes) -> None:
        """From now on, refuse exactly these devices and these certificates."""

    def stop(self) -> None:
        """End it."""


class ChildBroker:
    """A broker that runs as the hub's child; one that a killed hub left behind is adopted, or ended if it differs."""

    kind: ClassVar[str]

    def __init__(self, endpoint: Endpoint, child: Child, conf: Path, settings: str) -> None:
        self.endpoint = endpoint
        self._child = child
        self._conf = conf
        self._settings = settings

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._child.pid

    def start(self) -> None:
        """Start or adopt it; returns when it listens."""
        if self._child.adopt():
            if self._conf.read_text() == self._settings:
                _log.info("adopted the %s with pid %d that an earlier hub left", self.kind, self.pid)
                self._adopted()
                return
            self._child.stop()
        require_free(self.endpoint.host, self.endpoint.port, "--mqtt-port")
        write_private(self._conf, self._settings)
        self._child.start()
        self._await_ready()

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._child.alive()

    def stop(self) -> None:
        """End it."""
        self._child.stop()

    def _adopted(self) -> None:
        """Bring an adopted one up to date."""

    def _await_ready(self) -> None:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end:
            if not self._child.alive():
                raise MachineLacks(f"{self.kind} ended at once: {self._child.last_words()}")
            if _listens(reachable(self.endpoint)):
                return
            time.sleep(0.02)
        raise MachineLacks(f"{self.kind} does not listen on port {self.endpoint.port}: {self._child.last_words()}")


class Mosquitto(ChildBroker):
    """The broker of a fleet."""

    kind = "mosquitto"

    def __init__(self, folder: HubFolder, endpoint: Endpoint) -> None:
        conf = folder.broker / "mosquitto.conf"
        child = Child("mosquitto", (find_mosquitto(), "-c", str(conf)), folder.broker)
        super().__init__(endpoint, child, conf, mosquitto_conf(folder, endpoint))
        self._folder = folder

    def refuse(self, devices: Iterable[DeviceId], crl: bytes) -> None:
        """Rewrite rights and CRL and make mosquitto read them again; it acts on live connections at once."""
        self._folder.broker.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._folder.crl, crl)
        write_private(self._folder.broker / "acl", "\n".join(rights(devices)) + "\n")
        self._child.signal(signal.SIGHUP)

    def _adopted(self) -> None:
        self._child.signal(signal.SIGHUP)


def find_mosquitto() -> str:
    """Return the path of mosquitto; Debian puts it where ordinary users do not look."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("mosquitto", path=places)
    if found is None:
        raise MachineLacks("mosquitto is not installed, the hub needs one; get it with `apt install mosquitto`")
    return found


def mosquitto_conf(folder: HubFolder, endpoint: Endpoint) -> str:
    """Return mosquitto.conf."""
    server = folder.pair("server")
    lines = (
        f"listener {endpoint.port} {endpoint.host}",
        f"cafile {folder.authority.certificate}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        f"crlfile {folder.crl}",
        "tls_version tlsv1.2",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        f"acl_file {folder.broker / 'acl'}",
        # Started as root it would become the user mosquitto, to whom the hub's folder (0700) is closed.
        f"user {_user()}",
        "persistence true",
        f"persistence_location {folder.broker}/",
        "autosave_interval 60",
        "persistent_client_expiration 60d",
        f"max_queued_messages {QUEUED_MESSAGES}",
        f"max_packet_size {MAX_CAPTURE_BODY + 64 * 1024}",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages false",
    )
    return "\n".join(lines) + "\n"


def rights(revoked: Iterable[DeviceId]) -> Sequence[str]:
    """Return the access list: two patterns for every device, the hub's own clients, and who is refused."""
    lines = [*topics.rights(), "", f"user {HUB_USER}", *topics.hub_rights()]
    # To clear what is retained of a device that was revoked.
    lines += [f"topic write {topics.of_all_devices(kind)}" for kind in (Kind.PRESENCE, Kind.REPORTED)]
    lines += ["", f"user {INGEST_USER}"]
    lines += [f"topic read {topics.of_all_devices(Kind.FRAMES)}", f"topic write {topics.of_all_devices(Kind.ACK)}"]
    for device in revoked:
        lines += ["", f"user {device}", f"topic deny {topics.PREFIX}/{device}/#"]
    return lines


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as exc:
        raise MachineLacks(f"user id {os.geteuid()} has no name, mosquitto needs one; add it to /etc/passwd") from exc


def reachable(endpoint: Endpoint) -> Endpoint:
    """Return where this machine itself reaches a broker that may listen on every address."""
    return Endpoint("127.0.0.1", endpoint.port) if endpoint.host == "0.0.0.0" else endpoint  # noqa: S104 - compared


def _listens(endpoint: Endpoint) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((endpoint.host, endpoint.port)) == 0

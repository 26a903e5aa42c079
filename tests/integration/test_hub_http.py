"""A whole hub as its users run it: enrolment over real TLS, signed files for certificates only, starts and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.hubs import Applicant
from tests.samples import bundle, no_passphrase

from sprat.client import HubClient
from sprat.hub.fleet.enrolment import Enrolment
from sprat.hub.fleet.identity import DEVICE_LIFE, Authority
from sprat.hub.folder import HubFolder
from sprat.hub.store.fleet import FleetStore
from sprat.publish.keys import KeyFolder, parse_public
from sprat.publish.repository import initial_metadata, prepare_release
from sprat_device.board import pinned
from sprat_device.board.enrol import enrol
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity
from sprat_device.contract import enrolment
from sprat_device.contract.errors import HubUnreachable, SpratError
from sprat_device.contract.ids import Channel
from sprat_device.contract.renewal import DESIRED_PATH
from sprat_device.contract.twin import parse_desired
from sprat_device.install.origins import FileMissing, HubOrigin, HubRefused
from sprat_device.install.renewal import renew

pytestmark = pytest.mark.integration
WAIT_S = 90.0
FREE_PORTS = ("--console-port", "0", "--device-port", "0", "--mqtt-port", "0")


def sprat(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "sprat.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def eventually(what: str, ready: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while not (found := ready()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Hub:
    """One hub process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.run: dict[str, Any] = {}

    def start(self, *ports: str) -> Hub:
        (self.folder / "run.json").unlink(missing_ok=True)
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            command = [sys.executable, "-m", "sprat.cli", "hub", "run", str(self.folder), *(ports or FREE_PORTS)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.run = eventually(f"the hub is ready; see {log.name}", self._addresses)
        return self

    def _addresses(self) -> Any:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder.parent / f"{self.folder.name}.log").read_text()
        file = self.folder / "run.json"
        return json.loads(file.read_text()) if file.exists() else None

    @property
    def client(self) -> HubClient:
        return HubClient(self.run["console_url"], (self.folder / "admin.token").read_text().strip())

    def child(self, name: str) -> int:
        folder = self.folder / ("broker" if name == "mosquitto" else "logs")
        return int((folder / f"{name}.pid").read_text())

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)


def make(folder: Path) -> Hub:
    made = sprat("hub", "init", str(folder), "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["login"] == "admin"
    return Hub(folder)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A running hub with one release in canary."""
    if not any(Path(folder, "mosquitto").exists() for folder in ("/usr/sbin", "/usr/local/sbin", "/usr/bin")):
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp("hub")
    made = make(folder / "hub").start()
    keys = KeyFolder.create(folder / "keys", passphrase=no_passphrase, simple=True)
    with made.client as client:
        online = parse_public(client.online_key())
        client.found_repository(initial_metadata(keys, online, passphrase=no_passphrase, now=datetime.now(UTC)))
        ready = prepare_release(
            client.role("canary"), [(bundle(folder / "one.sprat"), {})], channel=Channel("canary"), release_seq=1,
            signers=keys.signers("canary", passphrase=no_passphrase), now=datetime.now(UTC),
        )  # fmt: skip
        client.publish("canary", ready.role, ready.files, {})
    yield made
    assert made.end() == 0


def token(hub: Hub, device: str = "") -> str:
    with hub.client as client:
        return str(client.make_token(["digits"], channel="canary", device=device)["token"])


def enrolled(hub: Hub, state: Path, device: str) -> Identity:
    return enrol(hub.run["device_url"], token(hub, device), state)


def pool(hub: Hub, who: Identity | None) -> urllib3.PoolManager:
    context = ssl.create_default_context(cafile=str(hub.folder / "certs" / "ca.pem"))
    if who is not None:
        context.load_cert_chain(who.certificate, who.key)
    return urllib3.PoolManager(ssl_context=context, retries=False)


def target_url(hub: Hub) -> str:
    with hub.client as client:
        digest = client.releases()[0]["bundle"]
    return f"{hub.run['device_url']}{enrolment.TARGETS_PATH}canary/digits/1/{digest}.generic.sprat"


def issued(hub: Hub, who: Identity, ago: timedelta) -> None:
    """Give a device a certificate that the hub issued that long ago."""
    paths = HubFolder.existing(hub.folder)
    key = load_pem_private_key(who.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    then = datetime.now(UTC) - ago
    with FleetStore(paths.fleet_db) as store:
        made = Enrolment(store, Authority.load(paths.authority), lambda: int(then.timestamp() * 1e6)).certify(
            who.device, key.public_key()
        )
        store.certificates.add(made)
    who.certificate.write_text(made.pem)


@pytest.mark.parametrize(("ended_days", "renews"), [(-1, True), (300, True), (400, False)])
def test_an_ended_certificate_is_good_for_its_renewal_only(
    hub: Hub, tmp_path: Path, ended_days: int, renews: bool
) -> None:
    who = enrolled(hub, tmp_path, f"ended{ended_days}".replace("-", "m"))
    issued(hub, who, DEVICE_LIFE + timedelta(days=ended_days))
    origin = HubOrigin(hub.run["device_url"], who, trusted_us=lambda: 0)
    if ended_days > 0:
        with pytest.raises(FileMissing, match="403"):
            next(origin.metadata("timestamp.json"))
    else:
        assert next(origin.metadata("timestamp.json"))
    now_us = time.time_ns() // 1000
    if not renews:
        with pytest.raises(HubRefused, match="enrol it again"):
            renew(who, origin, files=OsFiles(), now_us=now_us)
        return
    assert renew(who, origin, files=OsFiles(), now_us=now_us)
    assert next(HubOrigin(hub.run["device_url"], who, trusted_us=lambda: 0).metadata("timestamp.json"))


def test_a_device_is_told_over_https_what_the_broker_would_tell(hub: Hub, tmp_path: Path) -> None:
    who = enrolled(hub, tmp_path, "blocked")
    origin = HubOrigin(hub.run["device_url"], who, trusted_us=lambda: 0)
    with hub.client as client:
        client.set_settings("blocked", detail="summary")
    assert parse_desired(origin.ask("GET", DESIRED_PATH)).telemetry.detail == "summary"
    with hub.client as client:
        client.revoke("blocked")
    with pytest.raises(HubRefused, match="enrol it again"):
        origin.ask("GET", DESIRED_PATH)
    with pytest.raises(HubRefused, match="enrol it again"):
        renew(who, origin, files=OsFiles(), now_us=2**60)


def test_a_device_enrols_and_is_told_where_everything_is(hub: Hub, tmp_path: Path) -> None:
    found = enrolled(hub, tmp_path, "told")
    assert (found.device, found.channel, found.models) == ("told", "canary", ("digits",))
    assert (found.mqtt_host, found.mqtt_port) == ("127.0.0.1", hub.run["mqtt_port"])
    with hub.client as client:
        assert client.device("told")["facts"]["python"]


def test_a_wrong_token_is_refused_in_one_line(hub: Hub, tmp_path: Path) -> None:
    right = enrolment.parse_token(token(hub))
    wrong = enrolment.EnrolToken("guessed", right.ca_sha256, right.root_sha256).dump()
    with pytest.raises(SpratError, match="this hub did not make it") as caught:
        enrol(hub.run["device_url"], wrong, tmp_path)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert "guessed" not in str(caught.value)


def test_a_token_of_another_hub_is_refused_before_anything_is_sent(hub: Hub, tmp_path: Path) -> None:
    right = enrolment.parse_token(token(hub, "elsewhere"))
    for foreign in (
        enrolment.EnrolToken(right.secret, enrolment.digest("0" * 64), right.root_sha256),
        enrolment.EnrolToken(right.secret, right.ca_sha256, enrolment.digest("0" * 64)),
    ):
        with pytest.raises(SpratError, match="not the hub that made the token"):
            enrol(hub.run["device_url"], foreign.dump(), tmp_path)
    with hub.client as client:
        assert "elsewhere" not in {device["id"] for device in client.devices()}


def test_a_used_token_is_refused_for_another_device(hub: Hub, tmp_path: Path) -> None:
    once = token(hub, "once")
    first = enrol(hub.run["device_url"], once, tmp_path / "first")
    with pytest.raises(SpratError, match="used already") as caught:
        enrol(hub.run["device_url"], once, tmp_path / "second")
    assert caught.value.exit_code == 1
    again = enrol(hub.run["device_url"], once, tmp_path / "first")
    assert again.certificate.read_bytes() == first.certificate.read_bytes()


def test_the_same_request_twice_gives_the_same_answer(hub: Hub) -> None:
    request = Applicant().request(enrolment.parse_token(token(hub, "twice")).secret)
    url = hub.run["device_url"] + enrolment.ENROL_PATH
    with pool(hub, None) as http:
        answers = [http.request("POST", url, body=request.dump()) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].data == answers[1].data


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"schema": "sprat.enrol-request/9"}', b"[" * 5000])
def test_a_crooked_request_is_wrong_use(hub: Hub, body: bytes) -> None:
    with pool(hub, None) as http:
        answer = http.request("POST", hub.run["device_url"] + enrolment.ENROL_PATH, body=body)
    assert answer.status == 400
    assert answer.json()["error"]["message"]


def test_signed_files_need_a_certificate_that_was_not_revoked(hub: Hub, tmp_path: Path) -> None:
    urls = [hub.run["device_url"] + enrolment.METADATA_PATH + "timestamp.json", target_url(hub)]
    who = enrolled(hub, tmp_path, "revoked")
    with pool(hub, None) as nobody, pool(hub, who) as device:
        assert [nobody.request("GET", url).status for url in urls] == [401, 401]
        assert [device.request("GET", url).status for url in urls] == [200, 200]
        with hub.client as client:
            client.revoke("revoked")
        # The very same connection, whose handshake was before.
        assert [device.request("GET", url).status for url in urls] == [403, 403]
    with pytest.raises(FileMissing, match=r"answers 403 .* not valid here any more; enrol it again"):
        next(HubOrigin(hub.run["device_url"], who, trusted_us=lambda: 0).metadata("timestamp.json"))


def test_a_certificate_of_another_ca_gets_no_connection(hub: Hub, tmp_path: Path) -> None:
    other = make(tmp_path / "other").folder
    context = ssl.create_default_context(cafile=str(hub.folder / "certs" / "ca.pem"))
    context.load_cert_chain(other / "certs" / "hub.pem", other / "keys" / "hub.key")
    with urllib3.PoolManager(ssl_context=context, retries=False) as http, pytest.raises(urllib3.exceptions.HTTPError):
        http.request("GET", hub.run["device_url"] + enrolment.CA_PATH)


def test_the_hubs_own_certificates_are_no_devices(hub: Hub) -> None:
    context = ssl.create_default_context(cafile=str(hub.folder / "certs" / "ca.pem"))
    context.load_cert_chain(hub.folder / "certs" / "ingest.pem", hub.folder / "keys" / "ingest.key")
    with urllib3.PoolManager(ssl_context=context, retries=False) as http:
        assert http.request("GET", hub.run["device_url"] + enrolment.METADATA_PATH + "timestamp.json").status == 403


def test_a_bundle_comes_in_parts_where_asked_for(hub: Hub, tmp_path: Path) -> None:
    with pool(hub, enrolled(hub, tmp_path, "ranger")) as http:
        url = target_url(hub)
        whole = http.request("GET", url).data
        part = http.request("GET", url, headers={"Range": "bytes=10-19"})
        rest = http.request("GET", url, headers={"Range": f"bytes={len(whole) - 5}-"})
        beyond = http.request("GET", url, headers={"Range": f"bytes={len(whole)}-"})
    assert (part.status, part.data) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert (rest.status, rest.data) == (206, whole[-5:])
    assert beyond.status == 416


@pytest.mark.parametrize(
    "path",
    [
        "metadata/99.root.json", "metadata/..%2f..%2ffleet.db", "metadata/%2e%2e/series.json", "targets/nothing",
        "targets/canary/digits/1/..%2f..%2f..%2f..%2fmetadata%2ftimestamp.json", "targets/..%2f..%2fkeys/ca.key",
        "targets/canary//digits/1/x", "targets/canary/digits/1/.hidden", "targets/canary/digits/1/a%00b",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_repository(hub: Hub, tmp_path: Path, path: str) -> None:
    raw = hub.run["device_url"].rsplit(":", 1)
    who = enrolled(hub, tmp_path, "")
    context = ssl.create_default_context(cafile=str(who.ca))
    context.load_cert_chain(who.certificate, who.key)
    # By hand: clients tidy such paths up before they send them.
    with (
        socket.create_connection(("127.0.0.1", int(raw[1])), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(f"GET /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        status = tls.recv(64).split(b" ", 2)[1]
    assert status == b"404"


def test_a_second_hub_on_the_same_folder_is_refused(hub: Hub) -> None:
    second = sprat("hub", "run", str(hub.folder), *FREE_PORTS)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith("sprat: already-running: ")
    assert (hub.folder / "run.json").exists()


@pytest.mark.parametrize(
    ("flag", "address"),
    [("--console-port", "console_url"), ("--device-port", "device_url"), ("--mqtt-port", "mqtt_port")],
)
def test_a_port_in_use_is_one_line_and_leaves_nothing_behind(hub: Hub, tmp_path: Path, flag: str, address: str) -> None:
    other = make(tmp_path / "other").folder
    port = str(hub.run[address]).rsplit(":", 1)[-1]
    ports = [port if flag == FREE_PORTS[i - 1] else part for i, part in enumerate(FREE_PORTS)]
    ended = sprat("hub", "run", str(other), *ports)
    assert ended.returncode == 4
    last = ended.stderr.strip().splitlines()[-1]
    assert last == f"sprat: port {port} of 127.0.0.1 is in use; give another with {flag}, 0 for any that is free"
    assert not (other / "run.json").exists()
    assert not (other / "broker" / "mosquitto.pid").exists()


def test_a_folder_without_a_hub_and_one_that_is_full_are_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for arguments in (
        ["run", str(tmp_path)],
        ["init", str(tmp_path / "full")],
        ["init", str(tmp_path / "n"), "--name", "a b"],
    ):
        ended = sprat("hub", *arguments)
        assert ended.returncode == 2, ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "n").exists()


def test_ingest_is_started_again_when_it_ends(hub: Hub) -> None:
    before = hub.child("ingest")
    os.kill(before, signal.SIGKILL)
    after = eventually("another ingest", lambda: hub.child("ingest") if hub.child("ingest") != before else 0)
    assert running(after)


def test_a_hub_ends_its_children_and_a_killed_ones_broker_is_adopted(tmp_path: Path) -> None:
    one = make(tmp_path / "hub").start()
    broker = one.child("mosquitto")
    assert one.end(signal.SIGKILL) == -signal.SIGKILL
    assert running(broker)
    ports = {name: one.run[name] for name in ("device_url", "mqtt_port")}
    one.start()
    assert one.child("mosquitto") == broker
    assert {name: one.run[name] for name in ports} == ports
    with one.client as client:
        assert client.status()["broker"]["alive"]
    children = [one.child("mosquitto"), one.child("ingest")]
    assert one.end(signal.SIGINT) == 0
    assert not any(map(running, children))
    assert not (one.folder / "run.json").exists()


def test_a_port_that_speaks_no_tls_is_told_as_the_wrong_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            asked, _ = server.accept()
            with asked:
                asked.recv(65_536)
                asked.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        console = threading.Thread(target=answer)
        console.start()
        with pytest.raises(HubUnreachable, match="TLS is not spoken there: give the hub's device port"):
            pinned.request(
                ssl.create_default_context(), "GET", f"https://127.0.0.1:{server.getsockname()[1]}/v1/ca.pem"
            )
        console.join()

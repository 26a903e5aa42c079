"""The managed mosquitto: rights by certificate, no takeover by client id, revoking that acts, orphans, the hub's link."""

from __future__ import annotations

import importlib.util
import os
import queue
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.hubs import Applicant, FoundedHub, TestHub, found_hub, open_hub

from sprat.errors import MachineLacks, WrongUse
from sprat.hub import broker as brokers
from sprat.hub import demo_broker
from sprat.hub.broker import Mosquitto
from sprat.hub.fleet.link import HubLink
from sprat.hub.fleet.presence import Presence
from sprat.hub.fleet.twins import Twins
from sprat.hub.folder import Endpoint, KeyPair
from sprat_device.board import tls
from sprat_device.contract import topics
from sprat_device.contract.errors import HubUnreachable
from sprat_device.contract.ids import Channel, DeviceId, Digest
from sprat_device.contract.topics import Kind
from sprat_device.contract.twin import Offer, parse_desired
from sprat_device.contract.twin import Presence as Told
from sprat_device.telemetry.transport import Endpoint as MqttEndpoint
from sprat_device.telemetry.transport import Lost, MqttTransport, Will

pytestmark = pytest.mark.integration
WAIT_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: str, ready: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Client:
    """One MQTT 5 client with a certificate; remembers what it got."""

    def __init__(self, hub: TestHub, port: int, pair: KeyPair | None, *, client_id: str = "") -> None:
        self.got: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.connected: queue.Queue[bool] = queue.Queue()
        self.lost: queue.Queue[str] = queue.Queue()
        self._acked: queue.Queue[tuple[int, bool]] = queue.Queue()
        self._subscribed: queue.Queue[int] = queue.Queue()
        context = ssl.create_default_context(cafile=str(hub.services.folder.authority.certificate))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        self._paho.tls_set_context(context)
        self._paho.on_connect = lambda _c, _d, _f, code, _p: self.connected.put(not code.is_failure)
        self._paho.on_disconnect = lambda _c, _d, _f, code, _p: self.lost.put(str(code))
        self._paho.on_message = lambda _c, _d, message: self.got.put((message.topic, message.payload))
        self._paho.on_publish = lambda _c, _d, mid, code, _p: self._acked.put((mid, not code.is_failure))
        self._paho.on_subscribe = lambda _c, _d, mid, _codes, _p: self._subscribed.put(mid)
        self._paho.connect("127.0.0.1", port)
        self._paho.loop_start()

    def ready(self) -> Client:
        assert self.connected.get(timeout=WAIT_S)
        return self

    def publish(self, topic: str, payload: bytes = b"x") -> bool:
        """Return whether the broker took the message."""
        self._paho.publish(topic, payload, qos=1)
        return self._acked.get(timeout=WAIT_S)[1]

    def subscribe(self, topic: str) -> None:
        self._paho.subscribe(topic, qos=1)
        self._subscribed.get(timeout=WAIT_S)

    def close(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()


class Room:
    """A hub's broker with helpers to join it."""

    def __init__(self, hub: TestHub, broker: Mosquitto) -> None:
        self.hub = hub
        self.broker = broker
        self._clients: list[Client] = []

    def enrol(self, name: str) -> KeyPair:
        applicant, folder = Applicant(), self.hub.services.folder.root
        joined = self.hub.services.enrolment.enrol(applicant.request(self.hub.enrol_token(name).secret))
        serial = joined.certificate.serial
        pair = KeyPair(folder / f"{serial}.crt", applicant.write_key(folder / f"{serial}.key"))
        pair.certificate.write_text(joined.certificate.pem)
        return pair

    def connect(self, pair: KeyPair | None, *, client_id: str = "") -> Client:
        client = Client(self.hub, self.broker.endpoint.port, pair, client_id=client_id)
        self._clients.append(client)
        return client

    def as_hub(self, name: str = "hub") -> Client:
        return self.connect(self.hub.services.folder.pair(name)).ready()

    def refuse_revoked(self) -> None:
        store = self.hub.services.store
        revoked = [device.id for device in store.devices.all(revoked=True) if device.revoked_us]
        self.broker.refuse(revoked, self.hub.services.enrolment.revocation_list())

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.broker.stop()


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> FoundedHub:
    return found_hub(tmp_path_factory.mktemp("founded"))


@pytest.fixture
def room(founded: FoundedHub, tmp_path: Path) -> Iterator[Room]:
    if not any(Path(folder, "mosquitto").exists() for folder in ("/usr/sbin", "/usr/local/sbin", "/usr/bin")):
        pytest.skip("mosquitto is not installed")
    with open_hub(founded.copy(tmp_path)) as hub:
        made = Room(hub, Mosquitto(hub.services.folder, Endpoint("127.0.0.1", free_port())))
        made.hub.clock.now_us = time.time_ns() // 1000  # mosquitto compares certificates with the real clock
        made.refuse_revoked()
        made.broker.start()
        yield made
        made.close()


def test_a_device_writes_its_own_up_and_nothing_else(room: Room) -> None:
    device = room.connect(room.enrol("d1")).ready()
    room.enrol("d2")
    assert device.publish("sprat/v1/d1/up/frames")
    for topic in (
        "sprat/v1/d2/up/frames", "sprat/v1/d1/down/desired", "sprat/v1/d2/down/desired", "sprat/v1/d11/up/frames",
        "other", "sprat/v1/hub/up/frames",
    ):  # fmt: skip
        assert not device.publish(topic), topic


def test_a_device_reads_its_own_down_and_nothing_else(room: Room) -> None:
    spy = room.connect(room.enrol("d1")).ready()
    for topic in ("#", "sprat/v1/+/down/#", "sprat/v1/d2/down/desired", "$share/ingest/sprat/v1/+/up/frames"):
        spy.subscribe(topic)
    hub, other = room.as_hub(), room.connect(room.enrol("d2")).ready()
    assert other.publish(topics.frames(DeviceId("d2")))
    assert hub.publish("sprat/v1/d2/down/desired", b"for d2")
    assert hub.publish("sprat/v1/d1/down/ack", b"for d1")
    seen = {spy.got.get(timeout=WAIT_S) for _ in range(2)}  # it matches two of the subscriptions
    assert seen == {("sprat/v1/d1/down/ack", b"for d1")}
    assert spy.got.empty()


def test_the_hubs_own_clients_have_their_part_only(room: Room) -> None:
    hub, ingest = room.as_hub(), room.as_hub("ingest")
    assert hub.publish("sprat/v1/d1/down/desired")
    assert not hub.publish("sprat/v1/d1/up/frames")
    assert ingest.publish("sprat/v1/d1/down/ack")
    assert not ingest.publish("sprat/v1/d1/down/desired")


def test_a_client_id_takes_over_nobody(room: Room) -> None:
    victim = room.connect(room.enrol("d1"), client_id="d1").ready()
    victim.subscribe("sprat/v1/d1/down/#")
    thief = room.connect(room.enrol("d2"), client_id="d1").ready()
    thief.subscribe("sprat/v1/d1/down/#")
    room.as_hub().publish("sprat/v1/d1/down/desired", b"secret")
    assert victim.got.get(timeout=WAIT_S) == ("sprat/v1/d1/down/desired", b"secret")
    assert thief.publish("sprat/v1/d2/up/live")  # a round trip: whatever was for it has arrived
    assert thief.got.empty()
    assert victim.lost.empty()


def test_without_a_certificate_of_this_fleet_there_is_no_connection(room: Room, tmp_path: Path) -> None:
    stranger = found_hub(tmp_path / "strange").root
    pair = KeyPair(stranger / "certs" / "hub.pem", stranger / "keys" / "hub.key")
    for shown in (None, pair):
        # TLS 1.3 tells the client's fault after its handshake: as an error of connecting or as a lost connection.
        try:
            client = room.connect(shown)
        except OSError:
            continue
        with pytest.raises(queue.Empty):
            client.connected.get(timeout=1.0)


def test_revoking_acts_on_a_live_connection_and_on_new_ones(room: Room) -> None:
    pair = room.enrol("d1")
    live, bystander = room.connect(pair).ready(), room.connect(room.enrol("d2")).ready()
    live.subscribe("sprat/v1/d1/down/#")
    assert live.publish("sprat/v1/d1/up/frames")
    room.hub.services.enrolment.revoke(DeviceId("d1"), "test")
    room.refuse_revoked()
    eventually("its rights are gone", lambda: not live.publish("sprat/v1/d1/up/frames"))
    room.as_hub().publish("sprat/v1/d1/down/desired", b"not for it")
    live.publish("sprat/v1/d1/up/live")
    assert live.got.empty()
    live.close()

    def refused() -> bool:
        try:
            again = room.connect(pair)
            return not again.connected.get(timeout=1.0)
        except (OSError, queue.Empty):
            return True

    eventually("its certificate is refused", refused)
    assert bystander.publish("sprat/v1/d2/up/frames")
    assert bystander.lost.empty()

    new = room.enrol("d1")
    room.refuse_revoked()
    back = room.connect(new).ready()
    eventually("its id may be used again", lambda: back.publish("sprat/v1/d1/up/frames"))


def test_a_revoked_device_hears_what_is_wrong_and_what_to_do(room: Room) -> None:
    pair = room.enrol("d1")
    room.hub.services.enrolment.revoke(DeviceId("d1"), "test")
    room.refuse_revoked()
    ca = room.hub.services.folder.authority.certificate

    def secured() -> ssl.SSLContext:
        return tls.context(ca=ca, certificate=pair.certificate, key=pair.key, trusted_us=lambda: 0)

    transport = MqttTransport(MqttEndpoint("127.0.0.1", room.broker.endpoint.port, DeviceId("d1"), secured))

    def refused() -> str:
        try:
            transport.connect(Will("sprat/v1/d1/up/presence", b""))
            signal = transport.receive(WAIT_S)
        except HubUnreachable as exc:
            return str(exc)
        transport.drop()
        return signal.why if isinstance(signal, Lost) else ""

    # The broker reads the list anew when it is told to: until then it lets the device in.
    eventually("it hears so", lambda: "has revoked this device's certificate; enrol it again" in refused())


def test_an_orphan_is_adopted_where_nothing_changed(room: Room) -> None:
    device = room.connect(room.enrol("d1")).ready()
    heir = Mosquitto(room.hub.services.folder, room.broker.endpoint)
    heir.start()
    assert heir.pid == room.broker.pid
    assert heir.alive()
    assert device.publish("sprat/v1/d1/up/frames")
    assert device.lost.empty()
    heir.stop()
    assert not heir.alive()
    eventually("the child is gone", lambda: not room.broker.alive())


def test_an_orphan_with_other_settings_is_ended(room: Room) -> None:
    room.enrol("d1")
    heir = Mosquitto(room.hub.services.folder, Endpoint("127.0.0.1", free_port()))
    heir.start()
    try:
        assert heir.pid != room.broker.pid
        assert not room.broker.alive()
        assert heir.alive()
    finally:
        heir.stop()


def test_a_pid_file_that_names_another_program_harms_nobody(room: Room) -> None:
    room.broker.stop()
    (room.hub.services.folder.broker / "mosquitto.pid").write_text(str(os.getpid()))
    room.broker.start()
    assert room.broker.pid != os.getpid()
    assert room.broker.alive()


def test_a_port_in_use_is_one_line_with_its_remedy(room: Room) -> None:
    room.broker.stop()
    with socket.create_server(("127.0.0.1", room.broker.endpoint.port)):
        with pytest.raises(MachineLacks, match=r"port \d+ of 127.0.0.1 is in use; .*--mqtt-port") as caught:
            room.broker.start()
        assert caught.value.exit_code == 4


def test_no_mosquitto_is_one_line_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers.shutil, "which", lambda *_args, **_more: None)
    with pytest.raises(MachineLacks, match="apt install mosquitto") as caught:
        brokers.find_mosquitto()
    assert caught.value.exit_code == 4


def test_the_link_hears_devices_and_sends_twins_again_after_the_broker_died(room: Room) -> None:
    services, d1 = room.hub.services, DeviceId("d1")
    device = room.connect(room.enrol("d1")).ready()
    device.subscribe("sprat/v1/d1/down/#")
    link = HubLink(services.folder, room.broker.endpoint, Presence(services.store, room.hub.clock))
    twins = Twins(services.store, link.publish, room.hub.clock)
    link.start(twins.send_all)
    try:
        eventually("the link is up", link.connected)
        device.publish(topics.topic(d1, Kind.PRESENCE), Told(True, "boot").dump())
        eventually("presence is kept", lambda: [found.online for found in services.store.devices.all()] == [True])
        twins.offer(d1, "digits", Offer("r1", Channel("canary"), 1, "generic", Digest("0" * 64)))
        assert parse_desired(device.got.get(timeout=WAIT_S)[1]).version == 1

        os.kill(room.broker.pid, signal.SIGKILL)
        eventually("it is gone", lambda: not room.broker.alive() and not link.connected())
        assert not link.publish("sprat/v1/d1/down/desired", b"", retain=True)
        twins.offer(d1, "occupancy", Offer("r2", Channel("canary"), 2, "generic", Digest("1" * 64)))
        room.broker.start()
        device.ready()  # paho connects again by itself
        device.subscribe("sprat/v1/d1/down/#")
        eventually("the newest twin comes", lambda: parse_desired(device.got.get(timeout=WAIT_S)[1]).version == 2)
    finally:
        link.stop()


def test_the_demos_broker_carries_messages_on_loopback_and_says_what_it_lacks(
    founded: FoundedHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if importlib.util.find_spec("iotcore") is None:
        pytest.skip("iotcore is not installed")
    monkeypatch.setattr(brokers.shutil, "which", lambda *_args, **_more: None)
    endpoint = Endpoint("127.0.0.1", free_port())
    with open_hub(founded.copy(tmp_path)) as hub:
        folder = hub.services.folder
        with pytest.raises(MachineLacks, match="apt install mosquitto"):
            demo_broker.choose(folder, endpoint, demo=False)
        with pytest.raises(WrongUse, match="loopback only"):
            demo_broker.choose(folder, Endpoint("0.0.0.0", endpoint.port), demo=True)  # noqa: S104 - refused
        broker = demo_broker.choose(folder, endpoint, demo=True)
        assert "install mosquitto" in caplog.text
        assert demo_broker.warning_of(broker) == demo_broker.WARNING
        broker.start()
        clients = []
        try:
            clients = [
                Client(hub, endpoint.port, folder.pair(name), client_id=name).ready() for name in ("hub", "ingest")
            ]
            clients[0].subscribe("$share/ingest/sprat/v1/+/up/frames")
            assert clients[1].publish("sprat/v1/d1/up/frames", b"x" * 100_000)
            assert clients[0].got.get(timeout=WAIT_S) == ("sprat/v1/d1/up/frames", b"x" * 100_000)
            heir = demo_broker.choose(folder, endpoint, demo=True)
            heir.start()
            assert heir.pid == broker.pid
        finally:
            for client in clients:
                client.close()
            broker.stop()
        assert not broker.alive()

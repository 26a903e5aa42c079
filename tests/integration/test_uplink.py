"""The uplink over a real broker: what the device produced is at the hub, once, whatever dies on the way."""

from __future__ import annotations

import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.brokers import Mosquitto, TestAuthority

from sprat.lab.link import Link
from sprat_device.board import tls
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import topics, twin
from sprat_device.contract.acks import Ack
from sprat_device.contract.frame import open_frame
from sprat_device.contract.ids import DeviceId, Digest, ModelName
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Origin, Prediction, PredictionColumns, decode
from sprat_device.contract.topics import Kind
from sprat_device.telemetry.hub_words import Command
from sprat_device.telemetry.pacing import Key
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool
from sprat_device.telemetry.transport import (
    NO_SUBSCRIBERS,
    Connected,
    Endpoint,
    Lost,
    Message,
    MqttTransport,
    Published,
    Subscribed,
    Will,
)
from sprat_device.telemetry.uplink import Uplink

pytestmark = pytest.mark.integration

DEVICE = DeviceId("d1")
ORIGIN = Origin(ModelName("digits"), 1, Digest("ab" * 32))
SETTINGS = TelemetrySettings(frame_interval_s=0.05, window_frames=4)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)


@dataclass
class Hub:
    """The least hub: keeps frames by key and acks them; `answers` False makes it fall silent."""

    port: int
    authority: TestAuthority
    frames: dict[Key, bytes] = field(default_factory=dict)
    arrivals: list[Key] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)
    replies: queue.Queue[tuple[bytes, bytes]] = field(default_factory=queue.Queue)
    answers: bool = True
    subscribed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="hub", protocol=paho.MQTTv5)
        self.client.tls_set_context(self.authority.context("hub"))
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self._on_message
        self.client.connect("localhost", self.port)
        self.client.loop_start()
        assert self.subscribed.wait(20)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def send(self, topic: str, payload: bytes, *, retain: bool = False, properties: Properties | None = None) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def ack(self, key: Key, *, new_epoch: bool = False) -> None:
        epoch, lane, seq = key
        self.send(topics.ack(DEVICE), Ack(epoch, lane, ((seq, seq),), new_epoch).dump())

    def indices(self) -> list[int]:
        """Return the running indices of all predictions that it keeps."""
        found: list[int] = []
        for raw in self.frames.values():
            frame = open_frame(raw)
            body = decode(frame.body, count=frame.header.count)
            found += body.index.tolist() if isinstance(body, PredictionColumns) else []
        return sorted(found)

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        client.subscribe([
            (topics.of_all_devices(Kind.FRAMES, share="ingest"), 1), (topics.of_all_devices(Kind.PRESENCE), 1),
            (topics.of_all_devices(Kind.REPORTED), 1), (topics.of_all_devices(Kind.REPLY), 1),
        ])  # fmt: skip

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        topic = topics.parse(message.topic)
        match topic.kind:
            case Kind.FRAMES:
                header = open_frame(message.payload).header
                key = (header.epoch, header.lane, header.seq)
                self.arrivals.append(key)
                if self.answers:
                    assert self.frames.setdefault(key, message.payload) == message.payload
                    self.ack(key)
            case Kind.REPLY:
                self.replies.put((message.payload, message.properties.CorrelationData))
            case _:
                self.documents[topic.kind] = message.payload


@dataclass
class Device:
    """Recorder, spool and uplink as the agent wires them."""

    folder: Path
    port: int
    authority: TestAuthority
    desired: list[twin.Desired] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    produced: int = 0

    def start(self) -> None:
        clock = SystemClock()
        self.spool = DiskSpool(OsFiles(), self.folder, cap_bytes=4_000_000, segment_bytes=8192)
        self.recorder = Recorder(self.spool, clock, SETTINGS)
        endpoint = Endpoint("localhost", self.port, DEVICE, lambda: self.authority.context(DEVICE))
        self.uplink = Uplink(
            DEVICE, self.spool, MqttTransport(endpoint), clock, SETTINGS,
            on_desired=self.desired.append, on_command=self.commands.append, dice=lambda: 0.05,
        )  # fmt: skip
        self.recorder.start()
        self.uplink.start()

    def stop(self) -> None:
        self.recorder.close()
        self.uplink.stop()
        self.spool.close()

    def predict(self, times: int, *, per_frame: int = 10) -> None:
        for _ in range(times):
            outputs = np.array([0.1, 0.9], np.float32)
            self.recorder.prediction(ORIGIN, Prediction(self.produced, self.produced, 0, 1, outputs, 5), scores=True)
            self.produced += 1
            if self.produced % per_frame == 0:
                assert self.recorder.flush()

    def all_acked(self) -> bool:
        self.recorder.write()
        report = self.recorder.ledger()[Lane.PREDICTIONS]
        assert report.balanced()
        return report.acked == report.produced


@contextmanager
def running(party: Hub | Device) -> Iterator[None]:
    if isinstance(party, Device):
        party.start()
    try:
        yield
    finally:
        party.stop() if isinstance(party, Device) else party.close()


@pytest.fixture
def hub(broker: Mosquitto, authority: TestAuthority) -> Iterator[Hub]:
    party = Hub(broker.port, authority)
    with running(party):
        yield party


@pytest.fixture
def device(tmp_path: Path, broker: Mosquitto, authority: TestAuthority) -> Iterator[Device]:
    party = Device(tmp_path / "spool", broker.port, authority)
    with running(party):
        yield party


def test_frames_arrive_once_and_leave_the_spool_by_the_hubs_ack(hub: Hub, device: Device) -> None:
    device.predict(200)
    wait_for(device.all_acked, "everything acked")
    assert hub.indices() == list(range(200))
    assert len(hub.arrivals) == len(set(hub.arrivals))
    assert device.recorder.ledger()["predictions"].spooled == 0


def test_a_killed_broker_loses_and_doubles_nothing(broker: Mosquitto, hub: Hub, device: Device) -> None:
    wait_for(lambda: device.uplink.connected, "connected")
    for _ in range(3):
        device.predict(60)
        broker.kill()
        device.predict(60)
        broker.start()
        wait_for(lambda: device.uplink.connected, "connected again")
    wait_for(device.all_acked, "everything acked")
    assert hub.indices() == list(range(device.produced))


def test_a_hub_that_never_acks_gets_one_window_and_nothing_is_lost(hub: Hub, device: Device) -> None:
    hub.answers = False
    wait_for(lambda: device.uplink.connected, "connected")  # then all of it is live and may fill the window
    device.predict(300)
    wait_for(lambda: len(hub.arrivals) >= SETTINGS.window_frames, "a full window")
    hub.client.publish("sprat/v1/d1/down/nothing", b"", qos=1).wait_for_publish(10)
    assert len(set(hub.arrivals)) <= SETTINGS.window_frames
    assert device.recorder.ledger()["predictions"].acked == 0
    hub.answers = True
    for key in dict.fromkeys(hub.arrivals):  # it finds them after all, as a hub does that was slow to commit
        raw = device.spool.peek(key[0], key[1], start=key[2], stop=key[2] + 1)
        assert raw is not None
        hub.frames[key] = raw[1]
        hub.ack(key)
    wait_for(device.all_acked, "everything acked")
    assert hub.indices() == list(range(300))


def test_a_broker_says_whether_anybody_listens(broker: Mosquitto, authority: TestAuthority) -> None:
    secured = authority.context(DEVICE)
    transport = MqttTransport(Endpoint("localhost", broker.port, DEVICE, lambda: secured))
    transport.connect(Will(topics.topic(DEVICE, Kind.PRESENCE), b""))
    try:
        assert isinstance(transport.receive(20), Connected)
        for listening in (False, True):
            hub = Hub(broker.port, authority) if listening else None
            mid = transport.publish(topics.frames(DEVICE), b"no frame")
            said = transport.receive(20)
            assert isinstance(said, Published)
            assert said.mid == mid
            assert (said.code == NO_SUBSCRIBERS) != listening
            if hub is not None:
                hub.close()
    finally:
        transport.drop()


def test_a_message_that_came_is_received_although_its_connection_is_gone(
    broker: Mosquitto, authority: TestAuthority, hub: Hub
) -> None:
    secured = authority.context(DEVICE)
    transport = MqttTransport(Endpoint("localhost", broker.port, DEVICE, lambda: secured))
    transport.connect(Will(topics.topic(DEVICE, Kind.PRESENCE), b""))
    assert isinstance(transport.receive(20), Connected)
    transport.subscribe((topics.commands_for(DEVICE),))
    assert isinstance(transport.receive(20), Subscribed)
    for name in ("ping", "flush"):
        hub.send(topics.topic(DEVICE, Kind.COMMAND, name), b"")
    wait_for(lambda: transport._signals.qsize() == 2, "both have come")
    transport.wake()
    transport.drop()
    found = [transport.receive(0) for _ in range(3)]
    assert [one.topic.rpartition("/")[2] for one in found if isinstance(one, Message)] == ["ping", "flush"]
    assert found[2] is None  # nothing else of the old connection


def test_a_short_break_keeps_the_session_and_leaves_the_will_unsaid(
    broker: Mosquitto, authority: TestAuthority
) -> None:
    secured, presence = authority.context(DEVICE), topics.topic(DEVICE, Kind.PRESENCE)
    hub = Hub(broker.port, authority)
    with Link("127.0.0.1", broker.port) as link, running(hub):
        transport = MqttTransport(Endpoint("localhost", link.port, DEVICE, lambda: secured))
        transport.connect(Will(presence, b"offline"))
        assert transport.receive(20) == Connected(session_present=False)
        transport.subscribe((topics.topic(DEVICE, Kind.DESIRED),))
        assert isinstance(transport.receive(20), Subscribed)
        transport.publish(presence, b"online", retain=True)
        assert isinstance(transport.receive(20), Published)
        link.cut()
        assert isinstance(transport.receive(20), Lost)
        hub.client.publish(topics.topic(DEVICE, Kind.DESIRED), b"said meanwhile", qos=1).wait_for_publish(20)
        link.restore()
        transport.connect(Will(presence, b"offline"))
        came = [transport.receive(20), transport.receive(20)]
        assert Connected(session_present=True) in came
        assert [one.payload for one in came if isinstance(one, Message)] == [b"said meanwhile"]
        transport.publish(topics.topic(DEVICE, Kind.REPORTED), b"again")
        wait_for(lambda: hub.documents.get(Kind.REPORTED) == b"again", "what came after the break")
        assert hub.documents[Kind.PRESENCE] == b"online"
        transport.disconnect()


def test_a_restart_of_the_agent_sends_the_backlog(tmp_path: Path, broker: Mosquitto, authority: TestAuthority) -> None:
    device = Device(tmp_path / "spool", broker.port, authority)
    with running(device):
        device.predict(100)  # no hub yet: the broker says that nobody listens
    again = Device(tmp_path / "spool", broker.port, authority, produced=100)
    hub = Hub(broker.port, authority)
    with running(hub), running(again):
        again.predict(50)
        wait_for(again.all_acked, "everything acked")
        assert hub.indices() == list(range(150))


def test_a_hub_that_finds_a_clone_makes_the_device_begin_a_new_epoch(hub: Hub, device: Device) -> None:
    device.predict(10)
    wait_for(device.all_acked, "everything acked")
    (epoch,) = {key[0] for key in hub.frames}
    hub.ack((epoch, Lane.PREDICTIONS, 0), new_epoch=True)
    wait_for(lambda: device.spool.logs()[-1].epoch != epoch, "a new epoch")
    device.predict(10)
    wait_for(lambda: hub.indices() == list(range(20)), "frames of the new epoch")
    assert len({key[0] for key in hub.frames}) == 2


def test_twins_presence_and_commands_go_both_ways(broker: Mosquitto, hub: Hub, device: Device) -> None:
    reported = twin.Reported(version=3, agent="0.1.0").dump()
    device.uplink.publish_reported(reported)
    wait_for(lambda: hub.documents.get(Kind.REPORTED) == reported, "reported twin")
    assert twin.parse_presence(hub.documents[Kind.PRESENCE]).online

    desired = twin.Desired("i", 1)
    hub.send(topics.topic(DEVICE, Kind.DESIRED), b"{}")  # not one: ignored
    hub.send(topics.topic(DEVICE, Kind.DESIRED), desired.dump(), retain=True)
    wait_for(lambda: device.desired == [desired], "desired twin")

    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = topics.topic(DEVICE, Kind.REPLY, "r1")
    properties.CorrelationData = b"c1"
    hub.send(topics.topic(DEVICE, Kind.COMMAND, "ping"), b"hello", properties=properties)
    wait_for(lambda: bool(device.commands), "command")
    device.uplink.publish_reply(device.commands[0], b"pong")
    assert hub.replies.get(timeout=30) == (b"pong", b"c1")

    broker.kill()
    hub.subscribed.clear()
    hub.documents.clear()
    broker.start()  # without a disk: the session and all retained words are gone
    wait_for(hub.subscribed.is_set, "hub is back")
    wait_for(lambda: hub.documents.get(Kind.REPORTED) == reported, "reported twin after the broker's loss")


def test_a_clean_stop_says_goodbye(tmp_path: Path, broker: Mosquitto, authority: TestAuthority, hub: Hub) -> None:
    device = Device(tmp_path / "spool", broker.port, authority)
    with running(device):
        wait_for(lambda: Kind.PRESENCE in hub.documents, "presence")
    wait_for(lambda: not twin.parse_presence(hub.documents[Kind.PRESENCE]).online, "goodbye")


def test_a_device_of_another_name_may_not_write_ours(
    tmp_path: Path, broker: Mosquitto, authority: TestAuthority, hub: Hub
) -> None:
    """The broker's rights by the contract's two lines; MQTT 5 tells the device that it was refused."""
    device = Device(tmp_path / "spool", broker.port, authority)
    device.authority = authority
    original = authority.context
    authority.context = lambda _common: original("d2")  # type: ignore[method-assign]
    with running(device):
        wait_for(lambda: device.uplink.connected, "connected as d2, claiming d1")
        device.predict(10)
        assert device.recorder.flush()
    assert hub.arrivals == []


def test_live_is_heard_by_who_listens(hub: Hub, device: Device) -> None:
    hub.client.subscribe(topics.of_all_devices(Kind.LIVE))

    def heard() -> bool:
        device.uplink.publish_live("digits", b'{"label":"7"}')
        return hub.documents.get(Kind.LIVE) == b'{"label":"7"}'

    wait_for(heard, "the newest prediction")


def test_a_certificate_that_was_renewed_is_shown_at_the_next_attempt(
    tmp_path: Path, broker: Mosquitto, authority: TestAuthority
) -> None:
    certificate, key = authority.issue(DEVICE, days=(-20, -1))  # the broker refuses what has ended

    def secured() -> ssl.SSLContext:
        return tls.context(ca=authority.ca, certificate=certificate, key=key, trusted_us=lambda: 0)

    clock, spool = SystemClock(), DiskSpool(OsFiles(), tmp_path / "spool", cap_bytes=4_000_000)
    transport = MqttTransport(Endpoint("localhost", broker.port, DEVICE, secured))
    uplink = Uplink(
        DEVICE, spool, transport, clock, SETTINGS, on_desired=lambda _: None, on_command=lambda _: None, dice=lambda: 0.05
    )  # fmt: skip
    uplink.start()
    try:
        time.sleep(1)
        assert not uplink.connected
        certificate.write_bytes(b"damaged")  # costs attempts, and no thread
        time.sleep(1)
        assert uplink.alive
        authority.issue(DEVICE)
        wait_for(lambda: uplink.connected, "connected with the new certificate")
    finally:
        uplink.stop()
        spool.close()

"""The ingest process over a real mosquitto: what it acks is on disk, and on disk once, whatever dies in between."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests import frames
from tests.brokers import Mosquitto, TestAuthority
from tests.ingests import PATIENCE_S, Ingest, until

from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore
from sprat.hub.store.telemetry_commit import CONFLICT_CODE, QUARANTINE_CODE
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import acks, topics
from sprat_device.contract.frame import checksum
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Prediction, Row
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool
from sprat_device.telemetry.transport import Endpoint, MqttTransport
from sprat_device.telemetry.uplink import Uplink

pytestmark = pytest.mark.integration
DEVICE = DeviceId("d1")


class Device:
    """A device's side of the wire: it sends what it is told and keeps every ack."""

    def __init__(self, broker: Mosquitto, authority: TestAuthority, name: DeviceId) -> None:
        self.name = name
        self.acks: queue.Queue[acks.Ack] = queue.Queue()
        ready: queue.Queue[None] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self._client.tls_set_context(authority.context(name))
        self._client.on_connect = lambda client, *_: client.subscribe(topics.ack(name), qos=1)
        self._client.on_subscribe = lambda *_: ready.put(None)
        self._client.on_message = lambda _client, _data, message: self.acks.put(acks.parse(message.payload))
        self._client.connect("localhost", broker.port)
        self._client.loop_start()
        ready.get(timeout=PATIENCE_S)

    def send(self, raw: bytes) -> None:
        self._client.publish(topics.frames(self.name), raw, qos=1).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def device(broker: Mosquitto, authority: TestAuthority) -> Iterator[Device]:
    device = Device(broker, authority, DEVICE)
    yield device
    device.close()


@pytest.fixture
def store(tmp_path: Path, ingest: Ingest) -> Iterator[TelemetryStore]:
    with TelemetryStore(tmp_path / FILE_NAME) as store:
        yield store


def test_what_is_acked_is_stored_and_a_duplicate_counts_for_nothing(device: Device, store: TelemetryStore) -> None:
    raw = frames.predictions(0, 20)
    device.send(raw)
    ack = device.acks.get(timeout=PATIENCE_S)
    assert ack == acks.Ack(7, Lane.PREDICTIONS, ((0, 0),), frames=((0, checksum(raw)),))
    (row,) = store.ledger(DEVICE)
    assert (row.produced, row.stored, row.balanced) == (20, 20, True)
    device.send(raw)
    assert device.acks.get(timeout=PATIENCE_S) == ack
    (row,) = store.ledger(DEVICE)
    assert (row.stored, row.duplicates, row.ranges) == (20, 1, ((0, 0),))
    assert [p.index for p in store.predictions(DEVICE)] == list(range(20))
    assert sum(minute.predictions for minute in store.minutes(since_us=0)) == 20


def test_the_same_key_with_other_bytes_goes_to_quarantine(device: Device, store: TelemetryStore) -> None:
    device.send(frames.predictions(0, 20))
    device.acks.get(timeout=PATIENCE_S)
    other = frames.predictions(0, 20, first_index=500)
    device.send(other)
    ack = device.acks.get(timeout=PATIENCE_S)
    assert (ack.ranges, ack.new_epoch) == (((0, 0),), True)
    (aside,) = store.quarantine(DEVICE)
    assert (aside.reason, aside.seq) == (CONFLICT_CODE, 0)
    kept = store.quarantined(aside.id)
    assert kept is not None
    assert kept.raw == other
    assert [event.code for event in store.events(DEVICE, source="hub")] == [CONFLICT_CODE]
    assert {p.index for p in store.predictions(DEVICE)} == set(range(20))


def test_bytes_that_cannot_be_read_are_kept_and_not_acked(device: Device, store: TelemetryStore) -> None:
    device.send(b"noise")
    device.send(frames.rows(Lane.EVENTS, 0, [Row("started", 1, 1, {"version": "1"})]))
    assert device.acks.get(timeout=PATIENCE_S).lane is Lane.EVENTS
    assert device.acks.empty()
    assert [(aside.reason, aside.device) for aside in store.quarantine()] == [("unreadable", DEVICE)]
    assert {event.code for event in store.events(DEVICE)} == {QUARANTINE_CODE, "started"}


def test_kill_9_in_the_middle_loses_and_doubles_nothing(device: Device, ingest: Ingest, store: TelemetryStore) -> None:
    raws = {seq: frames.predictions(seq, 20) for seq in range(240)}
    waiting = dict(raws)
    for killed_below in (200, 120, 40, 0):
        while len(waiting) > killed_below:
            for raw in list(waiting.values())[:64]:  # the window of a device
                device.send(raw)
            _settle(device, waiting, stop_at=killed_below)
        if waiting:
            ingest.kill()
            ingest.start()
    (row,) = store.ledger(DEVICE)
    assert (row.stored, row.frames, row.ranges, row.balanced) == (4800, 240, ((0, 239),), True)
    assert sorted(p.index for p in store.predictions(DEVICE, limit=10_000)) == list(range(4800))
    assert sum(minute.predictions for minute in store.minutes(since_us=0)) == 4800
    assert [tally.predictions for tally in store.tallies()] == [4800]
    assert not store.quarantine()


def _settle(device: Device, waiting: dict[int, bytes], *, stop_at: int) -> None:
    try:
        while len(waiting) > stop_at:
            for first, last in device.acks.get(timeout=0.5).ranges:
                for seq in range(first, last + 1):
                    waiting.pop(seq, None)
    except queue.Empty:
        return  # time to send again


def test_the_real_spool_and_uplink_lose_and_double_nothing(
    tmp_path: Path, broker: Mosquitto, authority: TestAuthority, ingest: Ingest, store: TelemetryStore
) -> None:
    settings = TelemetrySettings(frame_interval_s=0.05, window_frames=4)
    spool = DiskSpool(OsFiles(), tmp_path / "spool", cap_bytes=4_000_000)
    recorder = Recorder(spool, SystemClock(), settings)
    transport = MqttTransport(Endpoint("localhost", broker.port, DEVICE, lambda: authority.context(DEVICE)))
    uplink = Uplink(
        DEVICE, spool, transport, SystemClock(), settings, on_desired=lambda _: None, on_command=lambda _: None,
        dice=lambda: 0.05,
    )  # fmt: skip
    recorder.start()
    uplink.start()
    try:
        for index in range(600):
            _predict(recorder, index)
            if index % 200 == 150:
                ingest.kill()
            if index % 200 == 199:
                ingest.start()
        until(lambda: (ours := recorder.ledger()[Lane.PREDICTIONS]).acked == ours.produced == 600)
    finally:
        recorder.close()
        uplink.stop()
        spool.close()
    assert sorted(p.index for p in store.predictions(DEVICE, limit=10_000)) == list(range(600))
    (row,) = [row for row in store.ledger(DEVICE) if row.lane is Lane.PREDICTIONS]
    assert (row.stored, row.balanced, row.conflicts) == (600, True, 0)
    assert [tally.predictions for tally in store.tallies()] == [600]


def _predict(recorder: Recorder, index: int) -> None:
    now_us = SystemClock().monotonic_us()
    made = Prediction(index, now_us, 0, 1, np.array([0.1, 0.9], np.float32), 5)
    recorder.prediction(frames.ORIGIN, made, scores=True)
    if index % 10 == 9:
        assert recorder.flush()


def test_it_ends_when_told_to(ingest: Ingest) -> None:
    assert ingest.stop() == 0

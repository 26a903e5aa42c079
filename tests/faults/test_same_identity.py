"""Ten cards cloned from one: the same certificate, the same spool, the same epoch, and one broker and hub for them all."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests import frames
from tests.brokers import Mosquitto, TestAuthority, make_broker
from tests.ingests import Ingest, until

from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore
from sprat.hub.store.telemetry_commit import CONFLICT_CODE
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import records
from sprat_device.contract.frame import open_frame
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Prediction, PredictionColumns
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool
from sprat_device.telemetry.transport import Endpoint, MqttTransport
from sprat_device.telemetry.uplink import Uplink

pytestmark = pytest.mark.faults
DEVICE = DeviceId("d1")
CLONES, COMMON, OWN = 10, 30, 60
SETTINGS = TelemetrySettings(frame_interval_s=3600, window_frames=4, backlog_bytes_per_s=0)


class Card:
    """One device; its predictions are told apart from those of the others by their index."""

    def __init__(self, folder: Path) -> None:
        self.spool = DiskSpool(OsFiles(), folder, cap_bytes=4_000_000)
        self.recorder = Recorder(self.spool, SystemClock(), SETTINGS)
        self.clashes: list[str] = []
        self.uplink: Uplink | None = None

    def predict(self, indices: range) -> None:
        for index in indices:
            made = Prediction(index, SystemClock().monotonic_us(), 0, 1, np.array([0.1, 0.9], np.float32), 5)
            self.recorder.prediction(frames.ORIGIN, made, scores=True)
            if index % 10 == 9:
                self.recorder.write(everything=True)

    def connect(self, broker: Mosquitto, authority: TestAuthority, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - jitter
        secured = authority.context(DEVICE)
        self.uplink = Uplink(
            DEVICE, self.spool, MqttTransport(Endpoint("localhost", broker.port, DEVICE, lambda: secured)), SystemClock(),
            SETTINGS, on_desired=lambda _: None, on_command=lambda _: None, on_clash=self.clashes.append,
            dice=lambda: dice.random() / 100,
        )  # fmt: skip
        self.uplink.start()

    @property
    def epoch(self) -> int:
        return self.spool.logs()[-1].epoch

    def waits(self) -> bool:
        return any(
            self.spool.peek(log.epoch, log.lane, start=0, stop=log.next_seq) is not None for log in self.spool.logs()
        )

    def close(self) -> None:
        if self.uplink is not None:
            self.uplink.stop()
        self.spool.close()


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[list[Card]]:
    """Ten copies of a card whose spool held frames."""
    first = Card(tmp_path / "original")
    first.predict(range(COMMON))
    first.close()
    made = []
    for number in range(CLONES):
        shutil.copytree(tmp_path / "original", tmp_path / f"card-{number}")
        made.append(Card(tmp_path / f"card-{number}"))
    yield made
    for card in made:
        card.close()


def kept_at(store: TelemetryStore) -> set[int]:
    """Return the index of every prediction whose bytes the hub has, stored or put aside."""
    kept = {prediction.index for prediction in store.predictions(DEVICE, limit=100_000)}
    for aside in store.quarantine(DEVICE):
        found = store.quarantined(aside.id)
        assert found is not None
        whole = open_frame(found.raw)
        decoded = records.decode(whole.body, count=whole.header.count)
        if isinstance(decoded, PredictionColumns):
            kept |= set(decoded.index.tolist())
    return kept


def test_every_clone_gets_through_none_is_acked_for_another_and_all_part(tmp_path: Path, cards: list[Card]) -> None:
    authority = TestAuthority(tmp_path)
    broker = make_broker(tmp_path, authority)
    broker.start()
    ingest = Ingest(tmp_path, broker, authority)
    ingest.start()
    (original,) = {card.epoch for card in cards}
    try:
        for number, card in enumerate(cards):
            begin = 1000 * (number + 1)
            card.predict(range(begin, begin + OWN))
            card.connect(broker, authority, seed=number)
        # Ten clients of one process push each other out until their delays have grown beyond what a connection takes here.
        until(lambda: not any(card.waits() for card in cards), patience_s=240)
    finally:
        for card in cards:
            if card.uplink is not None:
                card.uplink.stop()
        ingest.kill()
        broker.kill()
    with TelemetryStore(tmp_path / FILE_NAME) as store:
        wanted = {1000 * (number + 1) + i for number in range(CLONES) for i in range(OWN)} | set(range(COMMON))
        assert kept_at(store) == wanted  # what a device let go of, the hub has
        assert {aside.reason for aside in store.quarantine(DEVICE)} == {CONFLICT_CODE}
        assert CONFLICT_CODE in {event.code for event in store.events(DEVICE, source="hub")}
        rows = [row for row in store.ledger(DEVICE) if row.lane is Lane.PREDICTIONS]
        assert sum(row.conflicts for row in rows) >= OWN  # the alarm has its figure
    # Each was told to begin a new epoch, but one: whose frames came first keeps the old one.
    assert len({card.epoch for card in cards}) == CLONES
    assert [card.epoch for card in cards].count(original) <= 1
    assert len([card for card in cards if card.clashes]) >= CLONES - 1
    for card in cards:
        assert all(report.balanced() for report in card.spool.ledger().values())

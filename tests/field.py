"""A device in the field: its loop, recorder, spool and uplink with their threads, a link that can be lost, a real broker and ingest.

Everything but the model is real; the model answers with its input. `whole()` is the proof at the end: the hub has every
record that the device says it produced, except those that the device says it gave up, and every index once.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from tests.brokers import Mosquitto, TestAuthority, make_broker
from tests.ingests import Ingest, until
from tests.unit.device.inference import bundles

from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore
from sprat.lab.link import Link
from sprat_device.board.clock import Clock, SystemClock
from sprat_device.board.files import Files, OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract.ids import DeviceId, ModelName
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Origin
from sprat_device.inference.loop import Loop
from sprat_device.inference.sources.item import Tell
from sprat_device.inference.sources.reading import Source
from sprat_device.inference.sources.replay import Replay
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool
from sprat_device.telemetry.transport import Endpoint, MqttTransport
from sprat_device.telemetry.uplink import Uplink

DEVICE: Final = DeviceId("d1")
ORIGIN: Final = Origin(ModelName("tiny"), 1, bundles.DIGEST)
RATE_HZ: Final = 400.0


class FieldDevice:
    """A device that predicts from its start to its end, whatever happens around it."""

    def __init__(
        self,
        spool: Path,
        port: int,
        tls: ssl.SSLContext,
        *,
        files: Files | None = None,
        clock: Clock | None = None,
        cap_bytes: int = 8_000_000,
        source: Callable[[Clock, Tell], Source] | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        settings = TelemetrySettings(frame_interval_s=0.1, window_frames=8, backlog_bytes_per_s=0)
        self.spool = DiskSpool(files or OsFiles(), spool, cap_bytes=cap_bytes, segment_bytes=8192)
        self.recorder = Recorder(self.spool, self.clock, settings)
        self.uplink = Uplink(
            DEVICE, self.spool, MqttTransport(Endpoint("localhost", port, DEVICE, lambda: tls)), self.clock, settings,
            on_desired=lambda _wish: None, on_command=lambda _command: None, dice=lambda: 0.05,
        )  # fmt: skip
        self.loop = Loop(
            (source or _steady)(self.clock, self.recorder.event), self.recorder, self.clock, lambda *_told: None,
            summary_interval_s=1.0,
        )  # fmt: skip
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)

    def start(self) -> None:
        self.loop.swap(bundles.session(), ORIGIN)
        self.recorder.start()
        self.uplink.start()
        self._thread.start()

    def stop_predicting(self) -> None:
        """End the stream; what was recorded still goes its way."""
        self._stopping.set()
        self._thread.join()
        self.loop.close()
        assert self.recorder.flush()

    def stop(self) -> None:
        if not self._stopping.is_set():
            self.stop_predicting()
        self.recorder.close()
        self.uplink.stop()
        self.spool.close()

    def goes_on(self, predictions: int = 40) -> None:
        """Require that inference goes on now."""
        wanted = self.loop.healthy + predictions
        until(lambda: self.loop.healthy >= wanted)

    def sent(self) -> bool:
        """Tell whether nothing of the current epoch waits any more; the ledger balances all the time."""
        reports = self.recorder.ledger().values()
        assert all(report.balanced() for report in reports)
        return all(report.spooled == report.open == 0 for report in reports)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.loop.step(0.1)


def _steady(clock: Clock, _tell: Tell) -> Source:
    rows = np.random.default_rng(1).uniform(0, 10, (50, 3)).astype(np.float32)
    return Replay({"x": rows}, clock, rate_hz=RATE_HZ, loop=True)


class Field:
    """Broker, ingest, and the link between them and one device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = TestAuthority(folder)
        self.broker: Mosquitto = make_broker(folder, self.authority)
        self.broker.start()
        self.ingest = Ingest(folder, self.broker, self.authority)
        self.ingest.start()
        self.link = Link("127.0.0.1", self.broker.port)
        self.store = TelemetryStore(folder / FILE_NAME)

    def close(self) -> None:
        self.link.close()
        self.ingest.kill()
        self.broker.kill()
        self.store.close()

    def device(
        self,
        *,
        files: Files | None = None,
        clock: Clock | None = None,
        spool: Path | None = None,
        cap_bytes: int = 8_000_000,
        source: Callable[[Clock, Tell], Source] | None = None,
    ) -> FieldDevice:
        place = spool or self.folder / "spool"
        tls = self.authority.context(DEVICE)
        return FieldDevice(place, self.link.port, tls, files=files, clock=clock, cap_bytes=cap_bytes, source=source)

    def arrived(self) -> list[int]:
        """Return the running indexes at the hub, in order."""
        return sorted(row.index for row in self.store.predictions(DEVICE, limit=10**9))

    def whole(self, device: FieldDevice, *, evicts: bool = False) -> None:
        """Require that all that the device produced is at the hub once; with `evicts`, but for what it says it gave up."""
        device.stop_predicting()
        until(device.sent)
        lanes = device.recorder.ledger()
        given_up = {name: lane.evicted + lane.damaged for name, lane in lanes.items()}
        assert evicts == any(given_up.values()), given_up
        rows = {row.lane: row for row in self.store.ledger(DEVICE) if row.epoch == lanes[row.lane].epoch}
        assert [row for row in rows.values() if row.missing] == []
        seen = self.arrived()
        assert len(seen) == len(set(seen))
        predictions = rows[Lane.PREDICTIONS]
        # Surplus: evicted on the device although the hub had them, for their ack was lost with the link.
        assert len(seen) == device.loop.healthy - given_up[Lane.PREDICTIONS] + predictions.surplus
        if not evicts:
            assert [row for row in rows.values() if not row.balanced] == []
            assert seen == list(range(device.loop.healthy))


@contextmanager
def field(folder: Path) -> Iterator[Field]:
    made = Field(folder)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def running(device: FieldDevice) -> Iterator[FieldDevice]:
    device.start()
    try:
        yield device
    finally:
        device.stop()

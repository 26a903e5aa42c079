"""A capture of almost 1 MiB from the recorder over a real broker into the hub: as it was, and acked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import frames
from tests.brokers import Mosquitto, TestAuthority
from tests.ingests import Ingest, until

from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import capture
from sprat_device.contract.capture import Capture, Rule
from sprat_device.contract.frame import open_frame
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import decode
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool
from sprat_device.telemetry.transport import Endpoint, MqttTransport
from sprat_device.telemetry.uplink import Uplink

pytestmark = pytest.mark.integration
DEVICE = DeviceId("d1")
RNG = np.random.default_rng(4)
SMALL = RNG.normal(size=(3,)).astype(np.float32)
LARGE = RNG.integers(0, 256, (1000, 1040), dtype=np.uint8)  # noise: no compression makes it small
"""1,040,000 bytes; twice a segment of the spool."""


def test_large_and_small_captures_arrive_as_they_were(
    tmp_path: Path, broker: Mosquitto, authority: TestAuthority, ingest: Ingest
) -> None:
    settings = TelemetrySettings(frame_interval_s=0.05)
    spool = DiskSpool(OsFiles(), tmp_path / "spool", cap_bytes=8_000_000)
    recorder = Recorder(spool, SystemClock(), settings)
    transport = MqttTransport(Endpoint("localhost", broker.port, DEVICE, lambda: authority.context(DEVICE)))
    uplink = Uplink(
        DEVICE, spool, transport, SystemClock(), settings, on_desired=lambda _: None, on_command=lambda _: None,
        dice=lambda: 0.05,
    )  # fmt: skip
    recorder.start()
    uplink.start()
    try:
        for index, array in enumerate((SMALL, LARGE, SMALL, SMALL)):
            detail = Capture(Rule.RANDOM, index, 3, 0, (0.5,), {"x": array}).detail()
            recorder.capture(capture.CODE, detail, model="digits", bundle=frames.BUNDLE)
        until(lambda: (ours := recorder.ledger()[Lane.CAPTURES]).acked == ours.produced == 4)
    finally:
        recorder.close()
        uplink.stop()
        spool.close()
    with TelemetryStore(tmp_path / FILE_NAME) as store, store.connection() as db:
        raws = [row["raw"] for row in db.execute("SELECT raw FROM frames WHERE lane = 'captures' ORDER BY id")]
        assert store.quarantine() == ()
        assert store.events(DEVICE) == ()
    rows = [row for raw in raws for row in decode(open_frame(raw).body, count=open_frame(raw).header.count)]  # type: ignore[union-attr]
    kept = sorted((capture.parse(row.detail) for row in rows), key=lambda one: one.index)
    assert [
        np.array_equal(one.inputs["x"], array) for one, array in zip(kept, (SMALL, LARGE, SMALL, SMALL), strict=True)
    ] == [True] * 4

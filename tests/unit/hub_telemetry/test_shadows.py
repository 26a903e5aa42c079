"""What shadows tell: summed by hour and pair of bundles, once, and never taken for events."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import frames

from sprat.hub.store.database import Database
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_commit import TelemetryWriter
from sprat.hub.store.telemetry_schema import TELEMETRY
from sprat.hub.store.telemetry_values import NewFrame, Spoiled
from sprat.hub.telemetry import intake
from sprat_device.contract import frame, records, shadow
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Row
from sprat_device.contract.shadow import ShadowSummary
from sprat_device.contract.sketch import LogHistogram

OTHER = "cd" * 32
HOUR_US = 3_600_000_000


def told(compared: int, agreed: int, *, distance: float = 0.5, errors: int = 0) -> ShadowSummary:
    return ShadowSummary(
        60, OTHER, 8, readings=10 * compared, compared=compared, agreed=agreed, labelled=compared, distances=compared,
        distance_sum=distance * compared, distance_max=distance, errors={"run-failed": errors} if errors else {},
        latency=LogHistogram({49: compared}), shadow_latency=LogHistogram({55: compared}), cpu_us=5, rss_kib=40_000,
        starts=1,
    )  # fmt: skip


def raw(seq: int, *rows: Row, lane: Lane = Lane.SUMMARIES) -> bytes:
    return frame.seal(frames.header(lane, seq, len(rows)), records.encode_rows(rows))


def row(summary: ShadowSummary | dict[str, object], *, bundle: str = frames.BUNDLE) -> Row:
    detail = summary if isinstance(summary, dict) else summary.detail()
    return Row(shadow.CODE, 1000, 0, detail, "digits", bundle)


def read(given: bytes, *, device: str = "d1") -> NewFrame | Spoiled:
    return intake.read(device, given, frames.WALL, lambda *_: None)


def test_hours_are_summed_over_frames_and_devices_and_a_resend_counts_once(tmp_path: Path) -> None:
    with TelemetryStore(tmp_path / "telemetry.db") as store:
        writer = TelemetryWriter(store)
        first = raw(0, row(told(20, 18)), row(told(10, 10, distance=2.0, errors=3)))
        writer.commit([read(first)])
        writer.commit([read(first), read(raw(1, row(told(5, 5))))])
        writer.commit([read(raw(0, row(told(100, 0))), device="d2")])
        (hour,) = store.shadows(OTHER, device="d1")
        (both,) = store.shadows(OTHER)
        assert store.shadows(frames.BUNDLE) == ()
        assert store.shadows(OTHER, since_us=hour.hour_us + 1) == ()
        assert store.events("d1") == ()
    assert (hour.bundle, hour.model, hour.hour_us % HOUR_US) == (frames.BUNDLE, "digits", 0)
    assert (hour.told.compared, hour.told.agreed, hour.told.errors) == (35, 33, {"run-failed": 3})
    assert (hour.told.distance_sum, hour.told.distance_max) == (pytest.approx(32.5), 2.0)
    assert (hour.told.latency.count, hour.told.shadow_latency.count, hour.told.starts) == (35, 35, 3)
    assert (both.told.compared, both.told.agreed) == (135, 33)


def test_a_pair_of_bundles_is_told_apart_from_another(tmp_path: Path) -> None:
    with TelemetryStore(tmp_path / "telemetry.db") as store:
        TelemetryWriter(store).commit([read(raw(0, row(told(1, 1)), row(told(2, 0), bundle="ef" * 32)))])
        found = {hour.bundle: hour.told.compared for hour in store.shadows(OTHER)}
    assert found == {frames.BUNDLE: 1, "ef" * 32: 2}


@pytest.mark.parametrize(
    "change", [{"shadow": "x"}, {"compared": -1}, {"agreed": 99}, {"distance_max": float("nan")}, {"readings": 2**41}]
)
def test_nonsense_is_put_aside(change: dict[str, object]) -> None:
    found = read(raw(0, row({**told(1, 1).detail(), **change})))
    assert isinstance(found, Spoiled)
    assert found.reason == intake.BAD_BODY


def test_the_largest_counts_that_a_device_may_tell_never_stop_the_sums(tmp_path: Path) -> None:
    most = {**told(0, 0).detail(), "readings": 2**40, "compared": 2**40, "agreed": 2**40, "labelled": 2**40,
            "distance_sum": 1e308, "errors": {"run-failed": 2**40}}  # fmt: skip
    summed = shadow.parse(most)
    for _ in range(20):
        summed = summed.plus(summed)
    with TelemetryStore(tmp_path / "telemetry.db") as store:
        writer = TelemetryWriter(store)
        for seq in range(3):
            writer.commit([read(raw(seq, *[row(most)] * 20))])
        (hour,) = store.shadows(OTHER)
    assert hour.told.compared == 60 * 2**40
    assert summed.compared == 2**53
    assert shadow.parse(summed.detail(), most=2**53) == summed


def test_a_store_of_an_earlier_version_gets_the_table(tmp_path: Path) -> None:
    class Earlier(Database):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.migrate("telemetry", TELEMETRY[:1])

    with Earlier(tmp_path / "telemetry.db"):
        pass
    with TelemetryStore(tmp_path / "telemetry.db") as store:
        TelemetryWriter(store).commit([read(raw(0, row(told(1, 1))))])
        assert len(store.shadows(OTHER)) == 1

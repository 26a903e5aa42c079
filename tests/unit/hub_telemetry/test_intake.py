"""From bytes to what a commit writes: minutes, drift, events, health, times; and what hostile bytes lead to."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import frames

from sprat.hub.store.telemetry_values import Anchor, NewFrame, Spoiled, Timing
from sprat.hub.telemetry import intake
from sprat.hub.telemetry.rollup import plain_detail
from sprat.hub.telemetry.timing import place
from sprat_device.contract import frame, records, summary
from sprat_device.contract.phases import ClockState, Lane, Reason
from sprat_device.contract.records import Row
from sprat_device.contract.sketch import LogHistogram

MINUTE = 60_000_000


def nothing_known(_device: str, _boot: bytes) -> Anchor | None:
    return None


def read(raw: bytes, *, received_us: int = frames.WALL) -> NewFrame:
    found = intake.read("d1", raw, received_us, nothing_known)
    assert isinstance(found, NewFrame), found
    return found


def spoiled(raw: bytes) -> Spoiled:
    found = intake.read("d1", raw, frames.WALL, nothing_known)
    assert isinstance(found, Spoiled), found
    return found


def test_predictions_are_summed_by_minute() -> None:
    start = 60 - frames.WALL // 1_000_000 % 60  # seconds to the next minute
    made = [
        records.Prediction(i, (start - 1) * 1_000_000 + i * 500_000, 0, label, np.array([0.2, score], np.float32), 100)
        for i, (label, score) in enumerate([(1, 0.5), (1, 0.5), (0, 0.5), (records.NO_LABEL, 7.0)])
    ]
    header = frames.header(
        Lane.PREDICTIONS, 0, 4, mono_first_us=made[0].mono_us, mono_last_us=made[-1].mono_us,
        wall_last_us=frames.WALL + made[-1].mono_us,
    )  # fmt: skip
    found = read(frame.seal(header, records.encode_predictions(frames.ORIGIN, made, scores=False)))
    first, second = found.rollups
    assert second.minute_us - first.minute_us == MINUTE
    assert (first.predictions, first.classes, first.confidence.count) == (2, {1: 2}, 2)
    assert (second.predictions, second.classes, second.confidence.count) == (2, {0: 1}, 1)
    assert second.latency.count == 2
    assert (found.model, found.bundle, first.release_seq) == ("digits", frames.BUNDLE, 3)


def test_a_summary_becomes_a_rollup_and_drift() -> None:
    told = summary.Summary(
        60_000_000,
        300,
        {"input-range": 2},
        {3: 300},
        LogHistogram({10: 300}),
        LogHistogram({-1: 300}),
        {"mean": (1, 2)},
    )
    row = Row(summary.CODE, 1000, 0, told.detail(), "digits", frames.BUNDLE)
    found = read(frames.rows(Lane.SUMMARIES, 0, [row]))
    (rollup,) = found.rollups
    assert (rollup.lane, rollup.predictions, rollup.errors, rollup.classes) == (Lane.SUMMARIES, 300, 2, {3: 300})
    assert rollup.latency.counts == {10: 300}
    assert [(d.feature, d.counts, d.hour_us % 3_600_000_000) for d in found.drift] == [("mean", (1, 2), 0)]


def test_events_health_and_errors_each_find_their_place() -> None:
    rows = [
        Row("offer", 5, 0, {"release_seq": 2}, "digits"),
        Row(Reason.INPUT_RANGE, 6, 0, {}, "digits", frames.BUNDLE),
        Row(summary.HEALTH_CODE, 7, 0, {"cpu": 0.5}),
    ]
    found = read(frames.rows(Lane.EVENTS, 0, rows))
    assert [event.code for event in found.events] == ["offer", "input-range"]
    assert [sample.detail for sample in found.health] == [{"cpu": 0.5}]
    assert [(r.lane, r.errors, r.predictions) for r in found.rollups] == [(Lane.EVENTS, 1, 0)]


def test_a_capture_is_stored_and_makes_no_event() -> None:
    found = read(frames.rows(Lane.CAPTURES, 0, [Row("capture", 5, 0, {"input": b"\x00" * 100})]))
    assert (found.events, found.rollups) == ((), ())


@pytest.mark.parametrize(
    ("raw", "reason", "says", "has_header"),
    [
        (b"", "unreadable", "shorter than its header", False),
        (frames.predictions(0)[:-1], "unreadable", "its header says", False),
        (frames.predictions(0)[:-1] + b"\x00", "unreadable", "checksum", False),
        (b"SPRF\x02" + bytes(200), "unknown-version", "major version 2", False),
        (frame.seal(frames.header(Lane.EVENTS, 0, 1), b"no zstd"), "bad-body", "cannot be unpacked", True),
        (
            frames.rows(Lane.SUMMARIES, 0, [Row(summary.CODE, 1, 1, {"predictions": 1})]),
            "bad-body",
            "names no model",
            True,
        ),
        (
            frames.rows(Lane.SUMMARIES, 0, [Row(summary.CODE, 1, 1, {}, "m", "b")]),
            "bad-body",
            "'predictions' is missing",
            True,
        ),
        (frames.predictions(0, produced=2**62), "unreadable", "beyond 2^61", False),
    ],
)
def test_what_cannot_be_used_is_kept_with_its_reason(raw: bytes, reason: str, says: str, has_header: bool) -> None:
    found = spoiled(raw)
    assert (found.reason, found.raw) == (reason, raw)
    assert says in found.detail
    assert (found.header is not None) is has_header, "only what has a trusted header may be acked"


def test_a_count_that_would_not_fit_the_sums_is_refused() -> None:
    told = Row(summary.CODE, 1, 1, {"predictions": summary.MAX_COUNT + 1}, "digits", frames.BUNDLE)
    assert spoiled(frames.rows(Lane.SUMMARIES, 0, [told])).reason == "bad-body"


def test_predictions_in_another_lane_are_refused() -> None:
    whole = frame.open_frame(frames.predictions(0))
    raw = frame.seal(dataclasses.replace(whole.header, lane=Lane.EVENTS), whole.body)
    assert spoiled(raw).reason == "bad-body"


def test_times_of_records_stay_between_those_of_their_frame() -> None:
    made = [records.Prediction(0, 2**50, 0, 0, np.zeros(2, np.float32), 1)]
    header = frames.header(Lane.PREDICTIONS, 0, 1)
    found = read(frame.seal(header, records.encode_predictions(frames.ORIGIN, made, scores=False)))
    assert found.rollups[0].minute_us == header.wall_last_us // MINUTE * MINUTE


def test_the_three_ways_to_place_a_time() -> None:
    synchronised = frames.header(Lane.EVENTS, 0, 1, mono_last_us=10, wall_last_us=1010)
    lost = frames.header(Lane.EVENTS, 1, 1, mono_last_us=20, clock=ClockState.UNSYNCHRONISED)
    assert place(synchronised, 5000, None) == Anchor(1000, Timing.SYNCHRONISED)
    assert place(lost, 5000, Anchor(1000, Timing.SYNCHRONISED)) == Anchor(1000, Timing.BOOT)
    assert place(lost, 5000, None) == Anchor(4980, Timing.ARRIVAL)
    assert place(lost, 9000, Anchor(4980, Timing.ARRIVAL)) == Anchor(4980, Timing.ARRIVAL), "the earliest arrival holds"


def test_details_are_made_plain_and_small() -> None:
    hostile = {
        "nan": float("nan"), "big": 2**60, "bytes": b"\x00\xff", "long": "x" * 5000, "deep": {"a": {"b": {"c": {"d": 1}}}},
        "list": list(range(1000)), "k" * 500: None,
    }  # fmt: skip
    plain = plain_detail(hostile)
    assert plain["nan"] == "nan"
    assert plain["big"] == str(2**60)
    assert plain["bytes"] == repr(b"\x00\xff")
    assert len(str(plain["long"])) == 1024
    assert len(plain["list"]) == 64  # type: ignore[arg-type]
    assert max(map(len, plain)) == 64


@given(st.binary(max_size=400))
def test_random_bytes_never_raise(raw: bytes) -> None:
    assert isinstance(intake.read("d1", raw, frames.WALL, nothing_known), Spoiled)


@given(st.integers(0, frame.HEADER_SIZE - 1), st.integers(0, 255), st.binary(max_size=60))
def test_a_frame_whose_checksum_was_made_to_fit_never_raises(place_: int, value: int, body: bytes) -> None:
    raw = bytearray(frames.rows(Lane.EVENTS, 0, [Row("x", 1, 1, {})]))
    raw[place_] = value
    raw[frame.HEADER_SIZE :] = body
    struct.pack_into("<I", raw, frame.HEADER_SIZE - 8, len(body))
    raw[frame.HEADER_SIZE - 4 : frame.HEADER_SIZE] = bytes(4)
    import zlib

    struct.pack_into("<I", raw, frame.HEADER_SIZE - 4, zlib.crc32(bytes(raw)))
    assert isinstance(intake.read("d1", bytes(raw), frames.WALL, nothing_known), NewFrame | Spoiled)

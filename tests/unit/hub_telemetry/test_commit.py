"""The writer and what readers see: once is once, lanes are never added, and a failed commit leaves no trace."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import frames

from sprat.errors import MachineLacks
from sprat.hub.store import telemetry_commit
from sprat.hub.store.ranges import Ranges
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_commit import TelemetryWriter
from sprat.hub.store.telemetry_values import DAY_US, NewFrame, Outcome, Rollup, Spoiled, Verdict
from sprat.hub.telemetry import intake
from sprat.hub.telemetry.worker import Worker, acks
from sprat_device.contract import summary
from sprat_device.contract.acks import Ack
from sprat_device.contract.frame import Ledger, checksum
from sprat_device.contract.phases import Lane, Reason
from sprat_device.contract.records import Row
from sprat_device.contract.sketch import LogHistogram


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    with TelemetryStore(tmp_path / "telemetry.db") as store:
        yield store


@pytest.fixture
def writer(store: TelemetryStore) -> TelemetryWriter:
    return TelemetryWriter(store)


def read(raw: bytes, *, device: str = "d1") -> NewFrame | Spoiled:
    return intake.read(device, raw, frames.WALL, lambda *_: None)


def told(predictions: int, errors: int = 0, drift: tuple[int, ...] = ()) -> Row:
    detail = summary.Summary(
        60, predictions, {"input-range": errors}, {1: predictions}, LogHistogram({5: predictions}), LogHistogram(),
        {"mean": drift} if drift else {},
    ).detail()  # fmt: skip
    return Row(summary.CODE, 1000, 0, detail, "digits", frames.BUNDLE)


def test_any_order_and_any_repetition_counts_once(store: TelemetryStore, writer: TelemetryWriter) -> None:
    raws = [frames.predictions(seq, 5, produced=100) for seq in range(20)] * 3
    random.Random(1).shuffle(raws)  # noqa: S311 - a fixed disorder
    while raws:
        batch, raws = raws[:7], raws[7:]
        writer.commit([read(raw) for raw in batch])
    (row,) = store.ledger()
    assert (row.stored, row.frames, row.duplicates, row.ranges, row.balanced) == (100, 20, 40, ((0, 19),), True)
    assert store.tallies()[0].predictions == 100
    assert sorted(p.index for p in store.predictions("d1")) == list(range(100))


def test_a_new_writer_knows_what_the_last_one_committed(store: TelemetryStore, writer: TelemetryWriter) -> None:
    writer.commit([read(frames.predictions(0)), read(frames.predictions(2))])
    (verdict,) = TelemetryWriter(store).commit([read(frames.predictions(2))])
    assert verdict.outcome is Outcome.DUPLICATE
    TelemetryWriter(store).commit([read(frames.predictions(1))])
    assert store.ledger()[0].ranges == ((0, 2),)


def test_a_commit_that_fails_leaves_no_trace(
    store: TelemetryStore, writer: TelemetryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr(telemetry_commit, "_write_boot", full)
        with pytest.raises(MachineLacks, match="disk is full"):
            writer.commit([read(frames.predictions(0))])
    assert (store.ledger(), store.predictions("d1")) == ((), ())
    (verdict,) = writer.commit([read(frames.predictions(0))])
    assert verdict.outcome is Outcome.STORED


def test_a_conflict_balances_nothing(store: TelemetryStore, writer: TelemetryWriter) -> None:
    other = frames.predictions(0, first_index=77, produced=20)
    writer.commit([read(frames.predictions(0, produced=20)), read(other), read(other)])
    (row,) = store.ledger()
    assert (row.stored, row.conflicts, row.quarantined, row.missing) == (10, 10, 0, 10)
    assert [(aside.times, aside.reason) for aside in store.quarantine()] == [(2, "frame-conflict")]
    assert len(store.events(source="hub")) == 1, "one alarm for the same bytes"


def test_a_whole_frame_of_nonsense_is_acked_and_accounted_for(store: TelemetryStore, writer: TelemetryWriter) -> None:
    raw = frames.rows(Lane.SUMMARIES, 0, [Row(summary.CODE, 1, 1, {})])
    verdicts = writer.commit([read(raw), read(raw)])
    assert list(acks(verdicts)) == [("d1", Ack(7, Lane.SUMMARIES, ((0, 0),), frames=((0, checksum(raw)),)))]
    (row,) = store.ledger()
    assert (row.stored, row.quarantined, row.balanced) == (0, 1, True)


def test_what_the_device_lost_is_accounted_for(store: TelemetryStore, writer: TelemetryWriter) -> None:
    later = frames.predictions(5, 10, ledger=Ledger(produced=60, evicted=30, damaged=20))
    writer.commit([read(later)])
    (row,) = store.ledger()
    assert (row.stored, row.evicted, row.damaged, row.missing, row.balanced) == (10, 30, 20, 0, True)


def test_lanes_are_never_added(store: TelemetryStore, writer: TelemetryWriter) -> None:
    error = Row(Reason.INPUT_RANGE, 1000, 0, {}, "digits", frames.BUNDLE)
    writer.commit(
        [
            read(frames.predictions(0, 50)),
            read(frames.rows(Lane.SUMMARIES, 0, [told(40, errors=3)])),
            read(frames.rows(Lane.EVENTS, 0, [error])),
        ]
    )
    (tally,) = store.tallies()
    assert (tally.predictions, tally.errors) == (50, 3)
    (minute,) = store.minutes(since_us=0)
    assert (minute.predictions, minute.errors, minute.latency.count) == (50, 3, 50)


def test_sums_over_devices_and_their_filters(store: TelemetryStore, writer: TelemetryWriter) -> None:
    row = told(40, drift=(1, 2, 3))
    writer.commit([read(frames.rows(Lane.SUMMARIES, 0, [row]), device=name) for name in ("d1", "d2", "d3")])
    (minute,) = store.minutes(since_us=0, devices=["d1", "d3"])
    assert (minute.predictions, minute.classes, minute.latency.counts) == (80, {1: 80}, {5: 80})
    assert store.drift()[0].counts == (3, 6, 9)
    assert store.drift(devices=["d2"])[0].counts == (1, 2, 3)
    assert store.minutes(since_us=0, bundles=["cc" * 32]) == ()
    assert store.received().keys() == {"d1", "d2", "d3"}


def test_events_come_newest_first_page_by_page(store: TelemetryStore, writer: TelemetryWriter) -> None:
    rows = [Row(f"e{i}", 1000 + i, 0, {"i": i}) for i in range(5)]
    writer.commit([read(frames.rows(Lane.EVENTS, 0, rows))])
    page = store.events("d1", limit=2)
    assert [event.code for event in page] == ["e4", "e3"]
    assert [event.code for event in store.events("d1", before=page[-1].id)] == ["e2", "e1", "e0"]
    assert store.events("d1", code="e1")[0].detail == {"i": 1}


def test_evicted_frames_that_are_told_again_after_a_kill_count_once(
    store: TelemetryStore, writer: TelemetryWriter
) -> None:
    evicted = {"lane": "predictions", "epoch": "07", "first_seq": 3, "last_seq": 9, "records": 700, "reason": "evicted"}
    dropped = {"lane": "predictions", "records": 5, "reason": "queue"}  # names no frame: each is another loss
    for seq, at_us in enumerate((1000, 2000)):
        both = [Row("gap", at_us, 0, evicted), Row("gap", at_us, 0, dropped)]
        writer.commit([read(frames.rows(Lane.EVENTS, seq, both), device=name) for name in ("d1", "d2")])
    writer.commit([read(frames.rows(Lane.EVENTS, 2, [Row("gap", 3000, 0, {**evicted, "epoch": "08"})]))])
    assert [event.detail for event in store.events("d2", code="gap")] == [dropped, dropped, evicted]
    assert [event.detail.get("epoch") for event in store.events("d1", code="gap")] == ["08", None, None, "07"]
    assert [row.stored for row in store.ledger("d2")] == [4]  # the records themselves are all there


def test_predictions_go_on_after_a_frame(store: TelemetryStore, writer: TelemetryWriter) -> None:
    writer.commit([read(frames.predictions(seq, 10)) for seq in range(3)])
    page = store.predictions("d1", limit=15)
    assert len(page) == 20, "whole frames"
    assert [p.index for p in store.predictions("d1", after=page[-1].frame)] == list(range(20, 30))
    assert page[0].confidence == pytest.approx(0.9, abs=1e-3)
    assert page[3].wall_us == frames.WALL + 3
    assert store.predictions("d1", model="other") == ()


def test_retention_never_makes_a_resend_count_again(store: TelemetryStore, writer: TelemetryWriter) -> None:
    writer.commit([read(frames.predictions(0))])
    assert writer.forget_frames(before_us=frames.WALL + 2 * DAY_US) == 1
    (verdict,) = TelemetryWriter(store).commit([read(frames.predictions(0))])
    assert verdict.outcome is Outcome.DUPLICATE
    assert store.tallies()[0].predictions == 10


def test_an_anchor_survives_a_restart(store: TelemetryStore, writer: TelemetryWriter) -> None:
    writer.commit([read(frames.predictions(0))])
    anchor = TelemetryWriter(store).anchor("d1", frames.BOOT)
    assert anchor is not None
    assert anchor.offset_us == frames.WALL


class Mailbox:
    """Holds one batch, then nothing."""

    def __init__(self, arrived: list[tuple[str, bytes]]) -> None:
        self._arrived = arrived
        self.acked: list[tuple[str, Ack]] = []

    def take(self, *, timeout_s: float, max_frames: int, max_bytes: int) -> list[tuple[str, bytes]]:
        taken, self._arrived = self._arrived, []
        return taken

    def ack(self, device: str, ack: Ack) -> None:
        self.acked.append((device, ack))


def test_without_a_commit_there_is_no_ack(writer: TelemetryWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_arrivals: object) -> list[Verdict]:
        raise MachineLacks("no space")

    monkeypatch.setattr(writer, "commit", full)
    mailbox = Mailbox([("d1", frames.predictions(0))])
    assert Worker(writer, mailbox, lambda: frames.WALL).step(0) == 0
    assert mailbox.acked == []


def test_a_batch_is_acked_lane_by_lane(writer: TelemetryWriter) -> None:
    raws = [frames.predictions(seq) for seq in (0, 1, 5)]
    mailbox = Mailbox([*(("d1", raw) for raw in raws), ("d2", raws[0])])
    assert Worker(writer, mailbox, lambda: frames.WALL).step(0) == 4
    assert mailbox.acked == [
        ("d1", Ack(7, Lane.PREDICTIONS, ((0, 1), (5, 5)), frames=named(dict(zip((0, 1, 5), raws, strict=True))))),
        ("d2", Ack(7, Lane.PREDICTIONS, ((0, 0),), frames=named({0: raws[0]}))),
    ]


def test_two_frames_under_one_key_are_both_named_and_both_kept(store: TelemetryStore, writer: TelemetryWriter) -> None:
    one, other = frames.predictions(0), frames.predictions(0, first_index=500)
    mailbox = Mailbox([("d1", one), ("d1", other)])
    Worker(writer, mailbox, lambda: frames.WALL).step(0)
    (ack,) = [ack for _, ack in mailbox.acked]
    assert (ack.new_epoch, ack.frames) == (True, ((0, checksum(one)), (0, checksum(other))))
    assert [kept.reason for kept in store.quarantine()] == [telemetry_commit.CONFLICT_CODE]


def test_other_bytes_under_the_key_of_a_quarantined_frame_are_no_duplicate(
    store: TelemetryStore, writer: TelemetryWriter
) -> None:
    nonsense = frames.rows(Lane.SUMMARIES, 0, [Row(summary.CODE, 1, 1, {})])
    whole = frames.rows(Lane.SUMMARIES, 0, [told(40)])
    outcomes = [writer.commit([read(raw)])[0].outcome for raw in (nonsense, whole, whole, nonsense)]
    assert outcomes == [Outcome.QUARANTINED, Outcome.CONFLICT, Outcome.CONFLICT, Outcome.QUARANTINED]
    assert {kept.reason for kept in store.quarantine()} == {intake.BAD_BODY, telemetry_commit.CONFLICT_CODE}


def named(raws: dict[int, bytes]) -> tuple[tuple[int, int], ...]:
    return tuple((seq, checksum(raw)) for seq, raw in raws.items())


@given(st.lists(st.integers(0, 40)))
def test_ranges_are_sets_as_intervals(numbers: list[int]) -> None:
    ranges, expected = Ranges(), set[int]()
    for number in numbers:
        assert ranges.add(number) is (number not in expected)
        expected.add(number)
    found = ranges.intervals()
    assert {n for first, last in found for n in range(first, last + 1)} == expected
    assert all(a[1] + 1 < b[0] for a, b in pairwise(found)), "neighbours join"
    assert all((n in ranges) is (n in expected) for n in range(42))
    assert Ranges(found).intervals() == found


def test_rollups_merge_field_by_field() -> None:
    a = Rollup("b", "m", 0, Lane.PREDICTIONS, 1, 2, 1, {0: 2}, LogHistogram({1: 2}), LogHistogram({2: 2}))
    b = dataclasses.replace(a, release_seq=3, classes={0: 1, 5: 1}, latency=LogHistogram({1: 1}))
    a.merge(b)
    assert (a.release_seq, a.predictions, a.errors, a.classes) == (3, 4, 2, {0: 3, 5: 1})
    assert a.latency.counts == {1: 3}

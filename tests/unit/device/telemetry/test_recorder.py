from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.faults.disk import FullDisk
from tests.spools import draft, open_spool, waiting

from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import twin
from sprat_device.contract.frame import MAX_BODY, open_frame
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.contract.records import Origin, Prediction, PredictionColumns, Row, decode
from sprat_device.contract.twin import Detail
from sprat_device.telemetry import recorder as recorders
from sprat_device.telemetry.budget import KeptBudget
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool

ORIGIN = Origin(ModelName("digits"), 1, Digest("ab" * 32))
OTHER = Origin(ModelName("digits"), 2, Digest("cd" * 32))


def _prediction(index: int, *, width: int = 2, top: float = 0.9) -> Prediction:
    return Prediction(index, 1000 + index, 2000 + index, 0, np.full(width, top, np.float32), 5)


def _recorder(
    spool: DiskSpool, clock: ManualClock | None = None, *, queue_records: int = 8192, **settings: object
) -> Recorder:
    return Recorder(spool, clock or ManualClock(), TelemetrySettings(**settings), queue_records=queue_records)  # type: ignore[arg-type]


def _rows(spool: DiskSpool, lane: Lane = Lane.EVENTS) -> list[Row]:
    rows: list[Row] = []
    for key, raw in waiting(spool).items():
        if key[1] is lane:
            frame = open_frame(raw)
            body = decode(frame.body, count=frame.header.count)
            assert isinstance(body, tuple)
            rows += body
    return rows


def _predictions(spool: DiskSpool) -> list[PredictionColumns]:
    frames = [open_frame(raw) for key, raw in waiting(spool).items() if key[1] is Lane.PREDICTIONS]
    bodies = [decode(frame.body, count=frame.header.count) for frame in frames]
    assert all(isinstance(body, PredictionColumns) for body in bodies)
    return [body for body in bodies if isinstance(body, PredictionColumns)]


def _balanced(recorder: Recorder) -> None:
    for report in recorder.ledger().values():
        assert report.balanced(), report


def test_the_writer_holds_one_frame_of_each_list_besides_what_waits_and_a_flush_takes_it_all(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool)
    for index in range(1700):
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
    recorder.write()
    assert [len(body.index) for body in _predictions(spool)] == [500]
    assert recorder.ledger()["predictions"].open == 1200
    _balanced(recorder)
    recorder.write(everything=True)
    assert [len(body.index) for body in _predictions(spool)] == [500, 500, 500, 200]
    _balanced(recorder)


def test_what_waited_is_written_though_nothing_more_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "_PASS_S", 60.0)  # so that the thread goes on by itself or not at all
    spool = open_spool(tmp_path)
    recorder = _recorder(spool)
    for index in range(5000):
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
    recorder.start()
    until = time.monotonic() + 30
    while len(_predictions(spool)) < 10:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert recorder.close()
    assert recorder.beats >= 10, "in passes of a frame, so that a slow disk is no hung thread"


def test_a_frame_closes_at_500_records_and_after_the_interval(tmp_path: Path) -> None:
    spool, clock = open_spool(tmp_path), ManualClock()
    recorder = _recorder(spool, clock, frame_interval_s=5.0)
    for index in range(500):
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
    recorder.write()
    assert [len(body.index) for body in _predictions(spool)] == [500]  # and not only when the next record comes
    recorder.prediction(ORIGIN, _prediction(500), scores=True)
    recorder.write()
    clock.advance(2)
    recorder.prediction(OTHER, _prediction(501), scores=True)
    recorder.write()
    assert len(_predictions(spool)) == 1
    assert recorder.ledger()["predictions"].open == 2
    _balanced(recorder)
    clock.advance(2.9)
    recorder.write()
    assert len(_predictions(spool)) == 1
    clock.advance(0.2)
    recorder.write()
    assert [body.origin for body in _predictions(spool)] == [ORIGIN, ORIGIN]
    clock.advance(2)
    recorder.write()
    bodies = _predictions(spool)
    assert [body.origin for body in bodies] == [ORIGIN, ORIGIN, OTHER]
    assert np.concatenate([body.index for body in bodies]).tolist() == list(range(502))
    _balanced(recorder)


def test_inputs_that_take_turns_have_frames_of_their_own(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool)
    for index in range(200):
        for origin in (ORIGIN, OTHER, ORIGIN._replace()):  # the last is equal to the first, and not the same
            recorder.prediction(origin, _prediction(index), scores=True)
    recorder.write(everything=True)
    bodies = {body.origin: body.index.tolist() for body in _predictions(spool)}
    assert len(_predictions(spool)) == 2
    assert (sorted(bodies[ORIGIN]), bodies[OTHER]) == (sorted([*range(200)] * 2), [*range(200)])
    _balanced(recorder)


def test_wide_outputs_close_frames_before_their_limit(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool)
    noise = np.random.default_rng(1).random((100, 2000), np.float32)
    for index in range(100):
        recorder.prediction(ORIGIN, Prediction(index, index, 0, 0, noise[index], 1), scores=False)
    recorder.write(everything=True)
    frames = [open_frame(raw) for raw in waiting(spool).values()]
    assert sum(frame.header.count for frame in frames) == 100
    assert all(frame.header.body_size <= MAX_BODY for frame in frames)


def test_frames_tell_time_boot_and_clock_state(tmp_path: Path) -> None:
    spool, clock = open_spool(tmp_path), ManualClock(state=ClockState.UNSYNCHRONISED, boot=9)
    recorder = _recorder(spool, clock)
    for index in (3, 4):
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
    recorder.write(everything=True)
    (raw,) = waiting(spool).values()
    header = open_frame(raw).header
    assert header.boot_id == clock.boot_id
    assert header.clock is ClockState.UNSYNCHRONISED
    apart_us = clock.wall_us() - clock.monotonic_us()
    assert (header.mono_first_us, header.mono_last_us) == (1003, 1004)
    assert (header.wall_first_us, header.wall_last_us) == (1003 + apart_us, 1004 + apart_us)
    assert header.ledger.produced == 2


def test_a_clock_that_is_set_before_the_frame_closes_dates_its_records_truly(tmp_path: Path) -> None:
    spool, clock = open_spool(tmp_path), ManualClock(wall_us=5_000_000, state=ClockState.UNSYNCHRONISED)
    recorder = _recorder(spool, clock)
    made = Prediction(0, clock.monotonic_us(), clock.wall_us(), 0, np.zeros(2, np.float32), 5)
    recorder.prediction(ORIGIN, made, scores=True)
    clock.advance(20)
    clock.jump(1_790_000_000)
    clock.believe(ClockState.SYNCHRONISED)
    recorder.write(everything=True)
    (raw,) = waiting(spool).values()
    header = open_frame(raw).header
    assert header.clock is ClockState.SYNCHRONISED
    assert header.wall_last_us == header.wall_first_us == 1_790_000_000_000_000 + 5_000_000


def test_a_full_hand_over_counts_what_it_drops_and_says_so(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool, queue_records=10)
    for index in range(25):
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
    _balanced(recorder)
    recorder.write(everything=True)
    report = recorder.ledger()["predictions"]
    assert (report.produced, report.spooled, report.evicted) == (25, 10, 15)
    _balanced(recorder)
    (gap,) = _rows(spool)
    assert gap.code == "gap"
    assert gap.detail == {"lane": "predictions", "records": 15, "reason": "queue"}


def test_what_the_cap_evicts_is_told_as_a_gap(tmp_path: Path) -> None:
    spool, clock = open_spool(tmp_path, cap_bytes=10_000), ManualClock()
    recorder = _recorder(spool, clock)
    for index in range(40):
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
        recorder.write(everything=True)
    recorder.write(everything=True)
    gaps = [row.detail for row in _rows(spool) if row.code == "gap"]
    report = recorder.ledger()["predictions"]
    assert sum(int(str(gap["records"])) for gap in gaps) == report.evicted > 0
    assert gaps[0]["first_seq"] == 0
    _balanced(recorder)


def test_a_gap_whose_record_the_disk_did_not_take_is_told_again(tmp_path: Path) -> None:
    disk = FullDisk(room=1_000_000)
    spool = open_spool(tmp_path, disk, cap_bytes=10_000)
    recorder = _recorder(spool, ManualClock())
    index = 0
    while not recorder.ledger()["predictions"].evicted:
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
        recorder.write(everything=True)
        index += 1
    disk.room = 0
    recorder.write(everything=True)
    assert _rows(spool) == []
    disk.room = 1_000_000
    recorder.write(everything=True)
    (evicted, lost) = [row.detail for row in _rows(spool)]
    assert (evicted["reason"], evicted["records"]) == ("evicted", recorder.ledger()["predictions"].evicted)
    assert lost == {"lane": "events", "records": 1, "reason": "disk"}
    spool.close()
    assert open_spool(tmp_path, first_epoch=7).append(draft()) == ()
    _balanced(recorder)


def test_a_full_disk_costs_records_and_never_the_balance(tmp_path: Path) -> None:
    disk = FullDisk(room=1_000_000)
    spool = open_spool(tmp_path, disk)
    recorder = _recorder(spool)
    recorder.event("boot", {})
    recorder.write(everything=True)
    disk.room = 0
    recorder.prediction(ORIGIN, _prediction(0), scores=True)
    recorder.write(everything=True)
    _balanced(recorder)
    disk.room = 1_000_000
    recorder.write(everything=True)
    assert _rows(spool)[-1].detail == {"lane": "predictions", "records": 1, "reason": "disk"}
    assert recorder.ledger()["predictions"].evicted == 1
    _balanced(recorder)


def test_a_record_that_fits_no_frame_is_given_up(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool)
    noise = np.random.default_rng(1).random(40_000, np.float32)
    recorder.prediction(ORIGIN, Prediction(0, 0, 0, 0, noise, 1), scores=False)
    recorder.write(everything=True)
    recorder.write(everything=True)
    assert _rows(spool)[0].detail["reason"] == "too-big"
    _balanced(recorder)


def test_a_detail_that_cannot_be_written_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        _recorder(open_spool(tmp_path)).event("odd", {"value": object()})


def test_detail_chooses_predictions_and_never_events(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool, sample_every=10)
    for detail in (Detail.SAMPLED, Detail.SUMMARY):
        recorder.apply(twin.TelemetrySettings(detail=detail))
        for index in range(20):
            made = _prediction(index, top=0.5 if index == 7 else 0.9)
            recorder.prediction(ORIGIN, made, scores=True, unusual=index == 13)
        recorder.event("said", {})
        recorder.summary("health", {"cpu": 0.5}, model="digits")
    recorder.write(everything=True)
    assert [body.index.tolist() for body in _predictions(spool)] == [[0, 7, 10, 13]]
    assert [row.code for row in _rows(spool)] == ["said", "said"]
    assert [row.model for row in _rows(spool, Lane.SUMMARIES)] == ["digits", "digits"]


def test_the_daily_budget_steps_down_says_so_and_recovers_the_next_day(tmp_path: Path) -> None:
    spool, clock = open_spool(tmp_path), ManualClock()
    recorder = _recorder(spool, clock, daily_bytes=10_000)
    for index in range(1, 100):  # none of them is a sample
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
        recorder.write(everything=True)
    clock.advance(86_400)
    recorder.write(everything=True)
    recorder.prediction(ORIGIN, _prediction(1001), scores=True)
    recorder.write(everything=True)
    said = [tuple(row.detail[key] for key in ("from", "to", "reason")) for row in _rows(spool) if row.code == "detail"]
    assert said == [("full", "sampled", "daily-bytes"), ("sampled", "full", "new-day")]
    kept = np.concatenate([body.index for body in _predictions(spool)]).tolist()
    assert 10 < len(kept) < 90
    assert kept[-1] == 1001


def test_the_daily_budget_counts_what_the_disk_and_the_link_carry(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    kept = KeptBudget(OsFiles(), tmp_path / "budget.json")
    recorder = Recorder(spool, ManualClock(), TelemetrySettings(daily_bytes=10**6), kept_budget=kept)
    for index in range(10):
        recorder.prediction(ORIGIN, _prediction(index), scores=True)
        recorder.event("said", {})
        recorder.write(everything=True)
    recorder.start()
    recorder.close()  # writes what was spent as it is
    (spent,) = kept.load().spent.values()
    assert spent == sum(len(raw) for raw in waiting(spool).values())


def test_the_thread_flushes_and_closes(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool, frame_interval_s=3600.0)
    recorder.start()
    recorder.prediction(ORIGIN, _prediction(0), scores=True)
    assert recorder.flush()
    assert len(_predictions(spool)) == 1
    recorder.event("last", {})
    recorder.close()
    assert [row.code for row in _rows(spool)] == ["last"]
    _balanced(recorder)


def test_a_name_that_is_no_unicode_is_told_with_question_marks(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool)
    recorder.event("input-unreadable", {"detail": "x\udcff.npy", "names": ["\ud800"], "at": {"\udcff": 1}})
    recorder.write(everything=True)
    assert [row.detail for row in _rows(spool)] == [{"detail": "x?.npy", "names": ["?"], "at": {"?": 1}}]
    _balanced(recorder)


@pytest.mark.parametrize("odd", [{"label": 40_000}, {"mono_us": -1}, {"index": 2**64}])
def test_a_number_that_no_frame_holds_costs_its_frame_and_no_more(tmp_path: Path, odd: dict[str, int]) -> None:
    spool = open_spool(tmp_path)
    recorder = _recorder(spool)
    recorder.prediction(ORIGIN, _prediction(0)._replace(**odd), scores=True)
    recorder.prediction(OTHER, _prediction(1), scores=True)
    recorder.write(everything=True)
    recorder.write(everything=True)
    assert [columns.index.tolist() for columns in _predictions(spool)] == [[1]]
    ((gap,),) = [_rows(spool)]
    assert gap.detail == {"lane": "predictions", "records": 1, "reason": "not-encoded"}
    _balanced(recorder)

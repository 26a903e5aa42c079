from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.spools import draft

from sprat_device.contract.frame import FrameHeader, Ledger, seal
from sprat_device.contract.phases import Lane
from sprat_device.telemetry.segment import Segment, first_seq_of, name, scan


def _frame(seq: int, *, epoch: int = 1, lane: Lane = Lane.EVENTS) -> bytes:
    d = draft(lane)
    header = FrameHeader(
        lane=lane, epoch=epoch, seq=seq, count=d.count, boot_id=d.boot_id, mono_first_us=1, mono_last_us=1, wall_first_us=1,
        wall_last_us=1, clock=d.clock, ledger=Ledger(),
    )  # fmt: skip
    return seal(header, d.body)


def _seqs(raw: bytes, first_seq: int = 0) -> list[int]:
    return [found.header.seq for found in scan(raw, epoch=1, lane=Lane.EVENTS, first_seq=first_seq)]


@given(junk=st.binary(max_size=300), first=st.integers(0, 5), at=st.integers(0, 3))
def test_whole_frames_are_found_around_junk(junk: bytes, first: int, at: int) -> None:
    frames = [_frame(first + i) for i in range(3)]
    raw = b"".join(frames[:at]) + junk + b"".join(frames[at:])
    assert _seqs(raw, first) == [first, first + 1, first + 2]


@given(data=st.data())
def test_a_flipped_bit_costs_one_frame(data: st.DataObject) -> None:
    frames = [_frame(i) for i in range(4)]
    raw = bytearray(b"".join(frames))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    assert _seqs(bytes(raw)) == [i for i in range(4) if i != bit // 8 // len(frames[0])]


@given(st.binary(max_size=2000))
def test_no_bytes_are_too_strange(raw: bytes) -> None:
    assert _seqs(raw) == []


def test_frames_of_another_place_do_not_count() -> None:
    strangers = [_frame(0, epoch=2), _frame(0, lane=Lane.SUMMARIES), _frame(50), _frame(0)]
    assert _seqs(b"".join(strangers) + _frame(1)) == [0, 1]
    assert _seqs(_frame(3) + _frame(2), first_seq=3) == [3]


def test_an_index_settles_and_tells_runs() -> None:
    segment = Segment(Path("x"), 10)
    for i in range(6):
        segment.add(i * 5, i * 5 + 5, count=2, waiting=i != 5)
    assert segment.settle(0, 10) == 2
    assert segment.settle(12, 13) == 4
    assert segment.settle(12, 13) == 0
    assert segment.settle(100, 2**62) == 0
    assert list(segment.runs()) == [(11, 11), (14, 14)]
    assert (segment.next_waiting(0), segment.next_waiting(12), segment.next_waiting(15)) == (11, 14, None)
    assert (segment.next_seq, segment.waiting_records, segment.size, segment.place(11)) == (16, 4, 30, (5, 10))


def test_names_go_both_ways() -> None:
    assert first_seq_of(Path(name(2**40))) == 2**40
    assert first_seq_of(Path("state")) is None
    assert sorted([name(10), name(9)]) == [name(9), name(10)]

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sprat_device.contract.phases import Lane
from sprat_device.telemetry.pacing import (
    QUIET_S,
    RECONNECT_CAP_S,
    RESEND_CAP_S,
    RESEND_S,
    Key,
    Pace,
    Window,
    doubling,
    reconnect_delay,
)
from sprat_device.telemetry.retention import SegmentFacts, to_evict


def _key(seq: int) -> Key:
    return 1, Lane.PREDICTIONS, seq


@given(attempt=st.integers(0, 10_000), dice=st.floats(0, 1))
def test_delays_stay_within_their_bounds(attempt: int, dice: float) -> None:
    assert 0 <= reconnect_delay(attempt, dice=dice) <= min(RECONNECT_CAP_S, 2.0 ** min(attempt, 10))
    assert RESEND_S / 2 <= doubling(attempt, first_s=RESEND_S, dice=dice) <= RESEND_CAP_S


def test_reconnects_use_the_whole_jitter() -> None:
    assert reconnect_delay(20, dice=0.0) == 0.0
    assert reconnect_delay(20, dice=1.0) == RECONNECT_CAP_S


def test_the_window_is_opened_by_the_hubs_ack_alone() -> None:
    window = Window(2)
    window.sent(_key(0), 0.0, dice=1.0)
    assert window.room(0.0)
    assert not Window(1).room(0.0) or window.room(0.0, backlog=True)
    window.sent(_key(1), 0.0, dice=1.0)
    assert not window.room(1000.0)
    window.acked(1, Lane.EVENTS, [(0, 9)], 1.0)
    assert not window.room(1.0)
    window.acked(1, Lane.PREDICTIONS, [(0, 0)], 1.0)
    assert window.room(1.0)


def test_the_backlog_leaves_room_for_live_frames() -> None:
    window = Window(8)
    for seq in range(6):
        window.sent(_key(seq), 0.0, dice=1.0)
    assert not window.room(0.0, backlog=True)
    assert window.room(0.0)
    assert Window(1).room(0.0, backlog=True)


def test_frames_without_an_ack_are_sent_again_ever_more_seldom() -> None:
    window = Window(1)
    now, waits = 0.0, []
    for _ in range(8):
        window.sent(_key(0), now, dice=1.0)
        wait = next(s for s in range(2000) if window.due(now + s))
        waits.append(wait)
        now += wait
    assert waits == [20, 40, 80, 160, 320, 600, 600, 600]


def test_an_ack_shows_that_the_hub_lives_so_the_rest_is_asked_soon() -> None:
    window = Window(2)
    for _ in range(5):
        window.sent(_key(0), 0.0, dice=1.0)
    window.sent(_key(1), 0.0, dice=1.0)
    window.acked(1, Lane.PREDICTIONS, [(1, 1)], 10.0)
    assert window.due(10.0 + RESEND_S) == [_key(0)]


def test_a_broker_without_the_hub_is_left_alone_for_doubling_times() -> None:
    window = Window(16)
    now = 0.0
    for quiet in (QUIET_S, 2 * QUIET_S, 4 * QUIET_S):
        for seq in range(4):
            window.sent(_key(seq), now, dice=1.0)
        for seq in range(4):  # one burst is one refusal
            window.nobody_listens(_key(seq), now, dice=1.0)
        assert not window.room(now + quiet - 0.1)
        assert window.due(now + quiet - 0.1) == []
        now += quiet
        assert window.room(now)
        assert len(window.due(now)) == 4
    window.acked(1, Lane.PREDICTIONS, [(0, 0)], now)
    window.nobody_listens(_key(1), now, dice=1.0)
    assert window.room(now + QUIET_S)


def test_a_pace_allows_its_bytes_over_time() -> None:
    pace = Pace(1000)
    sent = 0
    for tenth in range(101):
        while pace.allows(tenth / 10):
            pace.spend(300)
            sent += 300
    assert 10_000 <= sent <= 11_500
    free = Pace(0)
    free.spend(10**9)
    assert free.allows(0.0)


def test_a_limit_that_comes_later_owes_nothing_for_what_went_without_one() -> None:
    pace = Pace(0)
    for second in range(3):
        assert pace.allows(second)
        pace.spend(10**9)
    pace.bytes_per_s = 1000
    assert pace.allows(3.0)
    pace.spend(2500)  # a second's worth had come up to here
    assert not pace.allows(4.0)
    assert pace.allows(5.0)


def _facts(lane: Lane, first_seq: int, *, waiting: int = 5, generation: int = 1) -> SegmentFacts:
    return SegmentFacts(lane, generation, first_seq, 100, waiting)


def test_eviction_takes_acked_then_cheap_then_old() -> None:
    segments = [
        _facts(Lane.EVENTS, 0), _facts(Lane.PREDICTIONS, 10), _facts(Lane.PREDICTIONS, 99, generation=0),
        _facts(Lane.SUMMARIES, 0), _facts(Lane.CAPTURES, 5), _facts(Lane.EVENTS, 7, waiting=0),
    ]  # fmt: skip
    chosen = to_evict(segments, need_bytes=600, incoming=Lane.EVENTS)
    assert chosen is not None
    assert [(segment.lane, segment.first_seq) for segment in chosen] == [
        (Lane.EVENTS, 7), (Lane.CAPTURES, 5), (Lane.PREDICTIONS, 99), (Lane.PREDICTIONS, 10), (Lane.SUMMARIES, 0),
        (Lane.EVENTS, 0),
    ]  # fmt: skip


def test_eviction_is_as_small_as_it_can_be_and_never_upwards() -> None:
    segments = [_facts(Lane.EVENTS, 0), _facts(Lane.SUMMARIES, 0), _facts(Lane.PREDICTIONS, 0)]
    assert to_evict(segments, need_bytes=100, incoming=Lane.EVENTS) == [segments[2]]
    assert to_evict(segments, need_bytes=200, incoming=Lane.PREDICTIONS) is None
    assert to_evict([], need_bytes=0, incoming=Lane.EVENTS) == []

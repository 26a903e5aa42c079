from __future__ import annotations

import threading

import numpy as np

from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Origin, Prediction, Row
from sprat_device.telemetry.hand_over import HandOver

LOUD, QUIET = (Origin(ModelName("digits"), 1, Digest("ab" * 32), name) for name in ("loud", "quiet"))
MOST = 100


def _give(hand: HandOver, origin: Origin, count: int) -> None:
    for index in range(count):
        hand.prediction(origin, Prediction(index, index, index, 0, np.zeros(2, np.float32), 5), scores=True)


def _taken(hand: HandOver) -> dict[str, int]:
    return {whose.origin.input: len(records) for whose, records in hand.take(10 * MOST)[0] if whose.origin}


def test_a_lone_list_may_hold_all_that_is_allowed_and_counts_the_rest() -> None:
    hand = HandOver(MOST)
    _give(hand, LOUD, MOST + 7)
    lots, overflow = hand.take(10 * MOST)
    assert [len(lot.records) for lot in lots] == [MOST]
    assert overflow == {Lane.PREDICTIONS: 7}


def test_a_flood_on_one_input_costs_another_none_of_its_share() -> None:
    hand = HandOver(MOST)
    _give(hand, LOUD, 10 * MOST)
    hand.row(Lane.EVENTS, Row("flood", 1, 1, {}))
    _give(hand, QUIET, MOST // 5)
    lots, _ = hand.take(10 * MOST)
    assert {whose.lane: len(records) for whose, records in lots if not whose.origin} == {Lane.EVENTS: 1}
    assert {whose.origin.input: len(records) for whose, records in lots if whose.origin} == {"loud": 100, "quiet": 20}


def test_equal_origins_share_a_list() -> None:
    hand = HandOver(MOST)
    _give(hand, LOUD, 1)
    _give(hand, LOUD._replace(), 1)
    assert _taken(hand) == {"loud": 2}


def test_what_is_given_while_the_writer_takes_is_neither_lost_nor_doubled() -> None:
    hand = HandOver(1_000_000)
    threads = [threading.Thread(target=_give, args=(hand, origin, 20_000)) for origin in (LOUD, QUIET)]
    for thread in threads:
        thread.start()
    found: dict[str, list[int]] = {"loud": [], "quiet": []}
    ended = False
    while not ended or hand.longest():
        ended = not any(thread.is_alive() for thread in threads)
        for whose, records in hand.take(7)[0]:
            assert whose.origin is not None
            found[whose.origin.input] += [record.index for record in records if isinstance(record, Prediction)]
        with hand.lock:
            given = hand.given()[Lane.PREDICTIONS]
        assert given >= sum(map(len, found.values()))
    assert found == {"loud": list(range(20_000)), "quiet": list(range(20_000))}
    with hand.lock:
        assert hand.given()[Lane.PREDICTIONS] == 40_000


def test_no_more_than_asked_for_is_taken_of_a_list() -> None:
    hand = HandOver(MOST)
    _give(hand, LOUD, 25)
    _give(hand, QUIET, 3)
    assert hand.longest() == 25
    taken = []
    while hand.longest():
        lots, _ = hand.take(10)
        taken.append(
            {whose.origin.input: [record.index for record in records] for whose, records in lots if whose.origin}
        )
    assert [sorted(map(len, lots.values())) for lots in taken] == [[3, 10], [10], [5]]
    assert [index for lots in taken for index in lots["loud"]] == list(range(25)), "in their order"

"""The desk: bounded on the server's side, an ordinary source on the loop's."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import DIGEST, manifest

from sprat_device.inference.serve.desk import Desk
from sprat_device.inference.serve.exchange import Exchange, Rows, Shown
from sprat_device.inference.serve.wire import Refusal, Response
from sprat_device.inference.sources.reading import Reply

LONG = 3600.0
"""Who waits so long for a batch does not come back within the test's own time."""
SHOWN = Shown(manifest(), DIGEST, 3, "onnx", batches=True)


def desk(most: int = 4, *, batch_wait_s: float = 0.0) -> Desk:
    made = Desk("tiny", ManualClock(), most=most, batch_wait_s=batch_wait_s)
    made.show(SHOWN)
    return made


def asked(count: int = 1, *, begins: bool = False) -> Rows:
    return Rows([{"x": np.full(3, number, np.float32)} for number in range(count)], begins=begins)


def exchange(rows: Rows) -> tuple[Exchange, list[Any]]:
    replies: list[Any] = []

    def render(got: Any) -> Response:
        replies.extend(got)
        return Response(200)

    return Exchange(rows, render), replies


def test_rows_come_out_in_order_with_an_index_and_an_answer_goes_back() -> None:
    one = desk()
    rows = asked(2, begins=True)
    waiting, replies = exchange(rows)
    finished: list[Exchange] = []
    waiting.done = finished.append
    one.put(rows, waiting)
    first, second = one.read(0), one.read(0)
    assert first is not None
    assert second is not None
    assert [(first.index, first.begins), (second.index, second.begins)] == [(0, True), (1, False)]
    assert first.reply is not None
    assert second.reply is not None
    second.reply(Reply("b", 2))
    assert not finished
    first.reply(Reply("a", 1))
    assert finished == [waiting]
    waiting.response()
    assert [reply.release_seq for reply in replies] == [1, 2]
    assert one.read(0) is None


def test_what_has_no_room_is_refused_whole_and_counted() -> None:
    one = desk(most=3)
    one.put(asked(2), None)
    with pytest.raises(Refusal, match="2 rows wait for tiny already, at most 3") as refused:
        one.put(asked(2), None)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    assert (one.waiting, one.refused) == (2, 2)
    one.put(asked(1), None)
    with pytest.raises(Refusal, match="at most 3 may wait") as too_many:
        one.put(asked(4), None)
    assert too_many.value.status == 413


def test_rows_that_nobody_waits_for_are_left_out_and_make_room() -> None:
    one = desk(most=2)
    rows = asked(2)
    gone, _ = exchange(rows)
    one.put(rows, gone)
    gone.given_up = True
    one.put(asked(1), None)
    reading = one.read(0)
    assert reading is not None
    assert (reading.index, reading.reply, one.waiting) == (0, None, 0)


def test_without_a_bundle_who_asks_and_who_waits_is_told() -> None:
    one = desk()
    rows = asked(2)
    waiting, replies = exchange(rows)
    one.put(rows, waiting)
    one.show(None)
    waiting.response()
    assert [(reply.answer, reply.reason) for reply in replies] == [(None, None)] * 2
    with pytest.raises(Refusal, match="no bundle answers for tiny") as refused:
        one.put(asked(), None)
    assert refused.value.status == 503


def test_what_was_pushed_is_run_by_the_next_bundle_and_counted_in_the_log_where_there_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = desk()
    one.put(asked(2), None)
    shown = one.shown
    one.show(None)
    assert one.waiting == 2
    one.show(shown)
    assert one.read(0) is not None
    one.close()
    assert one.read(0) is None
    assert [record.getMessage() for record in caplog.records] == ["tiny: the input ends, 1 accepted rows are not run"]


def test_a_closed_desk_takes_nothing_until_it_is_opened_again() -> None:
    one = desk()
    rows = asked()
    waiting, replies = exchange(rows)
    one.put(rows, waiting)
    one.close()
    waiting.response()
    assert len(replies) == 1
    with pytest.raises(Refusal):
        one.put(asked(), None)
    one.open()
    one.put(asked(), None)
    assert one.read(0) is not None


def test_a_request_that_comes_alone_waits_for_no_batch() -> None:
    one = desk(batch_wait_s=LONG)
    for _ in range(3):
        one.put(asked(1), None)
        assert one.read(1) is not None
        assert one.read(0) is None


def test_after_a_run_of_two_the_next_one_is_gathered() -> None:
    one = desk(batch_wait_s=LONG)
    one.put(asked(2), None)
    assert [one.read(wait) is not None for wait in (1, 0, 0)] == [True, True, False]
    one.put(asked(1), None)
    got: list[int] = []

    def take() -> None:
        first = one.read(1)
        got.extend([first is not None, one.waiting])

    loop = threading.Thread(target=take)
    loop.start()
    one.put(asked(1), None)
    loop.join(20)
    assert not loop.is_alive()
    assert got == [True, 1]  # the second was there when the first was given out


def test_an_artifact_with_a_fixed_batch_is_never_waited_for() -> None:
    one = Desk("tiny", ManualClock(), most=8, batch_wait_s=LONG)
    one.show(Shown(manifest(), DIGEST, 3, "onnx", batches=False))
    one.put(asked(2), None)
    assert [one.read(wait) is not None for wait in (1, 0, 0)] == [True, True, False]
    one.put(asked(1), None)
    assert one.read(1) is not None

"""The prediction cache: what is a hit, what goes when it is full, and what the loop makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import DIGEST, INPUT, OUTPUT, KeptRecords, manifest, session

from sprat_device.board.settings import RuntimeSettings
from sprat_device.contract import summary
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.manifest import State
from sprat_device.contract.records import Origin
from sprat_device.inference.answers import Answer
from sprat_device.inference.cache import ENTRY_BYTES, PredictionCache
from sprat_device.inference.loop import Loop
from sprat_device.inference.sources.reading import Reading, Reply

ORIGIN = Origin(ModelName("tiny"), 1, DIGEST)
KEPT = RuntimeSettings(cache_entries=8)


def row(*values: float) -> dict[str, Any]:
    return {"x": np.array(values, np.float32)}


def answer(label: int) -> Answer:
    return Answer(label, np.zeros(4, np.float32))


def test_equal_bytes_are_a_hit_and_nothing_else_is() -> None:
    key = PredictionCache.key
    assert key(row(1, 2)) == key(row(1, 2))
    others = [row(2, 1), {"y": row(1, 2)["x"]}, {"x": np.array([1, 2])}, {"x": row(1, 2)["x"][None]}, row(1, 2, 0)]
    assert len({key(row(1, 2)), *map(key, others)}) == 6
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert key({"x": turned}) == key({"x": turned.copy()})


def test_the_least_recently_used_goes_first() -> None:
    cache = PredictionCache(entries=2, max_bytes=10**6)
    cache.keep(b"a", answer(0))
    cache.keep(b"b", answer(1))
    assert cache.find(b"a") is not None
    cache.keep(b"c", answer(2))
    assert [cache.find(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_its_bytes_are_bounded_and_one_answer_too_large_is_not_kept() -> None:
    cache = PredictionCache(entries=100, max_bytes=3 * (ENTRY_BYTES + 16))
    for number in range(10):
        cache.keep(bytes([number]), answer(number))
        cache.keep(bytes([number]), answer(number))
    assert (len(cache), cache.bytes) == (3, 3 * (ENTRY_BYTES + 16))
    cache.keep(b"huge", Answer(0, np.zeros(4096, np.float32)))
    assert (len(cache), cache.bytes) == (0, 0)


def test_only_a_model_whose_answers_stand_alone_is_cached() -> None:
    stream = session(described=replace(manifest(), state=State.KEPT))
    assert PredictionCache.wanted(stream, KEPT) is None
    assert PredictionCache.wanted(session(), RuntimeSettings()) is None
    assert PredictionCache.wanted(session(), KEPT) is not None


class Turns:
    """A source of which each step finds the rows of one turn waiting."""

    def __init__(self, turns: list[list[Any]]) -> None:
        self.turns = turns
        self.index = 0

    def read(self, timeout_s: float) -> Reading | None:
        if timeout_s == 0 and not self.turns[0]:
            return None
        if not self.turns[0]:
            self.turns.pop(0)
        self.index += 1
        return Reading(self.index - 1, 0, 0, row(*self.turns[0].pop(0)))

    def close(self) -> None:
        pass


class Rig:
    def __init__(self, turns: list[list[Any]], *, open_batch: bool = False) -> None:
        self.runs: list[int] = []
        self.records, self.outcomes = KeptRecords(), 0
        self.open_batch = open_batch
        self.loop = Loop(Turns(turns), self.records, ManualClock(), self.outcome, runtime=KEPT)

    def outcome(self, *_told: object) -> None:
        self.outcomes += 1

    def session(self, digest: Digest = DIGEST) -> Any:
        def run(inputs: Any) -> Any:
            self.runs.append(len(inputs["x"]))
            return {"y": inputs["x"]}

        shape = (-1 if self.open_batch else 1, 3)
        described = manifest(inputs=(replace(INPUT, shape=shape),), outputs=(replace(OUTPUT, shape=shape),))
        return session(run, described, digest=digest)


@pytest.mark.parametrize("open_batch", [False, True])
def test_a_hit_is_recorded_and_counted_but_not_run_and_proves_nothing(open_batch: bool) -> None:
    later = [[3, 2, 1], [1, 2, 3]]
    rig = Rig([[[1, 2, 3]], later] if open_batch else [[[1, 2, 3]], later[:1], later[1:]], open_batch=open_batch)
    rig.loop.swap(rig.session(), ORIGIN)
    for _ in range(2 if open_batch else 3):
        rig.loop.step(1)
    rig.loop.close()
    assert [prediction.label for _, prediction in rig.records.predictions] == [2, 0, 2]
    assert (rig.runs, rig.outcomes, rig.loop.healthy) == ([1, 1], 2, 3)
    told = [summary.parse(detail) for detail, _ in rig.records.summaries]
    assert (sum(each.predictions for each in told), sum(each.cached for each in told)) == (3, 1)


def test_a_swap_begins_with_an_empty_cache() -> None:
    rig = Rig([[[1, 2, 3]], [[1, 2, 3]]])
    rig.loop.swap(rig.session(), ORIGIN)
    rig.loop.step(1)
    rig.loop.swap(rig.session(Digest("cd" * 32)), ORIGIN._replace(bundle=Digest("cd" * 32)))
    rig.loop.step(1)
    assert rig.runs == [1, 1]


def test_who_asks_is_told_that_the_answer_was_known() -> None:
    replies: list[Reply] = []

    class Asked:
        def read(self, _timeout_s: float) -> Reading | None:
            return Reading(0, 0, 0, row(1, 2, 3), reply=replies.append)

        def close(self) -> None:
            pass

    loop = Loop(Asked(), KeptRecords(), ManualClock(), lambda *_told: None, runtime=KEPT)
    loop.swap(session(), ORIGIN)
    loop.step(0)
    loop.step(0)
    assert [reply.cached for reply in replies] == [False, True]


def test_summaries_without_the_count_are_still_read() -> None:
    assert summary.parse({"predictions": 3}).cached == 0
    assert "cached" not in summary.Summary(1, 3).detail()

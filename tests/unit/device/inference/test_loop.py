"""The loop: what becomes a prediction, what an event, and what happens when bundles change under a running source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import BASELINE, DIGEST, INPUT, OUTPUT, KeptRecords, manifest, session

from sprat_device.contract import summary
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.manifest import Task, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import Origin
from sprat_device.inference.loop import Loop
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.sources.reading import Reading, Reply
from sprat_device.inference.sources.replay import Replay

ORIGIN = Origin(ModelName("tiny"), 1, DIGEST)
NEXT = Origin(ModelName("tiny"), 2, Digest("cd" * 32))
GOOD = np.array([0.1, 0.2, 0.7], np.float32)


class Rig:
    """A loop over rows, with everything that it tells."""

    def __init__(self, rows: list[Any], *, loop: bool = False) -> None:
        self.clock = ManualClock()
        self.records = KeptRecords()
        self.outcomes: list[tuple[bool, int]] = []
        source = Replay({"x": np.array(rows)}, self.clock, loop=loop, sleep=lambda _seconds: None)
        self.loop = Loop(
            source, self.records, self.clock, lambda _b, ok, us: self.outcomes.append((ok, us)), summary_interval_s=60
        )

    def run(self, steps: int) -> Rig:
        for _ in range(steps):
            self.loop.step(0.1)
        return self

    def indexes(self) -> list[int]:
        return [prediction.index for _origin, prediction in self.records.predictions]


def test_nothing_is_read_before_a_bundle_is_loaded() -> None:
    rig = Rig([GOOD])
    assert not rig.loop.step(0.1)
    assert rig.loop.running == ""
    rig.loop.swap(session(), ORIGIN)
    assert rig.loop.step(0.1)
    assert rig.indexes() == [0]
    assert not rig.loop.step(0.1)


def test_the_running_index_goes_on_over_a_swap_without_a_gap() -> None:
    rig = Rig([GOOD, GOOD], loop=True)
    rig.loop.swap(session(), ORIGIN)
    rig.run(5)
    rig.loop.swap(session(digest=NEXT.bundle), NEXT)
    assert (rig.loop.healthy, rig.loop.running) == (5, DIGEST)  # until the thread that steps has taken it up
    rig.run(5)
    assert rig.loop.running == NEXT.bundle
    assert rig.indexes() == list(range(10))
    assert [origin.release_seq for origin, _prediction in rig.records.predictions] == [1] * 5 + [2] * 5
    assert rig.loop.healthy == 5


FOUND, WANTED = "input 'x': found float64 [3]", "expected finite float32 [3], about 0 to 10"


def test_a_bad_input_is_an_event_and_never_a_prediction() -> None:
    rig = Rig([GOOD, [np.nan, 0, 0], GOOD, [1e5, 0, 0]])
    rig.loop.swap(session(), ORIGIN)
    rig.run(4)
    assert rig.indexes() == [0, 2]
    assert rig.records.events == [
        (
            Reason.INPUT_NON_FINITE,
            {"index": 1, "detail": f"{FOUND} from 0 to 0, 1 of 3 values not finite, {WANTED}"},
            DIGEST,
        ),
        (Reason.INPUT_RANGE, {"index": 3, "detail": f"{FOUND} from 0 to 100000, {WANTED}"}, DIGEST),
    ]
    assert (rig.loop.healthy, rig.loop.errors) == (2, 2)
    # A sensor's bad value says nothing against the bundle.
    assert [ok for ok, _us in rig.outcomes] == [True, True]


def test_a_bad_input_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig([GOOD, [np.nan, 0, 0]])
    rig.loop.swap(session(), ORIGIN._replace(input="door"))
    rig.run(2)
    (line,) = caplog.messages
    assert line.startswith("input tiny/door: input-non-finite: reading 1")


def test_a_source_that_does_not_fit_counts_against_the_bundle() -> None:
    rig = Rig([[0.1, 0.2]])
    rig.loop.swap(session(), ORIGIN)
    rig.run(1)
    assert rig.outcomes == [(False, 0)]


def test_a_failing_runtime_and_a_non_finite_answer_are_events_too() -> None:
    def fail(_inputs: Any) -> Any:
        raise RunFailed("onnx failed while running: no luck")

    rig = Rig([GOOD, GOOD])
    rig.loop.swap(session(fail), ORIGIN)
    rig.run(1)
    rig.loop.swap(session(lambda _inputs: {"y": np.array([[np.nan, 0, 0]], np.float32)}), NEXT)
    rig.run(1)
    assert [code for code, _detail, _bundle in rig.records.events] == [Reason.RUN_FAILED, Reason.NON_FINITE]
    assert "no luck" in str(rig.records.events[0][1]["detail"])
    assert rig.outcomes == [(False, 0), (False, 0)]
    assert rig.records.predictions == []


def test_an_anomaly_is_recorded_as_unusual() -> None:
    score = TensorSpec("y", "float32", (1, 1), meaning="score", threshold=5.0)
    described = manifest(outputs=(score,), labels=("normal", "odd"), task=Task.ANOMALY)
    rig = Rig([[1, 1, 1], [9, 1, 1], [2, 1, 1]])
    rig.loop.swap(session(lambda inputs: {"y": inputs["x"][:, :1]}, described), ORIGIN)
    rig.run(3)
    assert rig.indexes() == [0, 1, 2]
    assert rig.records.unusual == [1]


def test_many_equal_errors_become_few_events_and_a_count() -> None:
    rig = Rig([[np.nan, 0, 0]], loop=True)
    rig.loop.swap(session(), ORIGIN)
    rig.run(500)
    rig.loop.close()
    assert len(rig.records.events) == 20
    told = summary.parse(rig.records.summaries[0][0])
    assert told.errors == {Reason.INPUT_NON_FINITE: 500}


def test_a_summary_tells_each_interval_and_each_bundle_apart() -> None:
    rig = Rig([GOOD, [0.9, 0.0, 0.1]], loop=True)
    rig.loop.swap(session(), ORIGIN)
    rig.run(400)
    rig.clock.advance(60)
    rig.run(1)
    rig.run(3)
    rig.loop.swap(session(digest=NEXT.bundle), NEXT)
    rig.run(1)
    rig.loop.close()
    (first, _), (second, bundle), _after = rig.records.summaries
    told = summary.parse(first)
    assert (told.predictions, told.classes) == (401, {2: 201, 0: 200})
    assert told.span_us == 60_000_000
    assert told.latency.count == told.confidence.count == 401
    assert told.confidence.quantile(0.9) == pytest.approx(0.9, rel=0.06)
    assert told.drift == {"a": (401, 0, 0)}
    assert summary.parse(second).predictions == 3
    assert bundle == DIGEST


def test_a_baseline_of_an_unknown_feature_is_refused_before_it_answers() -> None:
    strange = Baseline({"zz": np.array([1.0])}, {"zz": np.array([0, 0])}, np.array([1]))
    rig = Rig([GOOD], loop=True)
    rig.loop.swap(session(), ORIGIN)
    with pytest.raises(BundleRefused, match="zz"):
        rig.loop.swap(session(baseline=strange), NEXT)
    rig.run(1)
    assert rig.loop.running == DIGEST
    assert BASELINE.edges.keys() == {"a"}


def _open_batch(function: Any) -> Any:
    inputs, outputs = (replace(INPUT, shape=(-1, 3)),), (replace(OUTPUT, shape=(-1, 3)),)
    return session(function, manifest(inputs=inputs, outputs=outputs))


def test_what_waits_is_run_at_once_where_the_batch_is_open() -> None:
    runs: list[int] = []

    def run(inputs: Any) -> Any:
        runs.append(len(inputs["x"]))
        return {"y": inputs["x"]}

    rig = Rig([GOOD, [np.nan, 0, 0], [0.7, 0.2, 0.1]])
    rig.loop.swap(_open_batch(run), ORIGIN)
    rig.run(1)
    assert runs == [2]
    assert [(p.index, p.label) for _o, p in rig.records.predictions] == [(0, 2), (2, 0)]
    assert [detail["index"] for _c, detail, _b in rig.records.events] == [1]


def test_a_failing_batch_is_run_one_by_one() -> None:
    def run(inputs: Any) -> Any:
        if len(inputs["x"]) > 1 or inputs["x"][0, 0] > 5:
            raise RunFailed("too much")
        return {"y": inputs["x"]}

    rig = Rig([GOOD, [9, 0, 0], GOOD])
    rig.loop.swap(_open_batch(run), ORIGIN)
    rig.run(1)
    assert rig.indexes() == [0, 2]
    assert [detail for _c, detail, _b in rig.records.events] == [{"index": 1, "detail": "too much"}]


def test_who_waits_for_an_answer_is_told_and_who_watches_sees_it() -> None:
    class Watch:
        def __init__(self) -> None:
            self.seen: list[tuple[int, int]] = []

        def answered(self, _session: Any, _origin: Any, reading: Any, prediction: Any) -> None:
            self.seen.append((reading.index, prediction.label))

    class Asked:
        def __init__(self, *rows: Any) -> None:
            self.rows = [np.array(row, np.float32) for row in rows]
            self.replies: list[Reply] = []

        def read(self, _timeout_s: float) -> Reading | None:
            return Reading(7, 0, 0, {"x": self.rows.pop(0)}, reply=self.replies.append) if self.rows else None

        def close(self) -> None:
            pass

    source, watch = Asked(GOOD, [np.nan, 0, 0]), Watch()
    loop = Loop(source, KeptRecords(), ManualClock(), lambda *_told: None, watchers=[watch])
    loop.swap(session(), ORIGIN)
    loop.step(0)
    loop.step(0)
    good, bad = source.replies
    assert good.answer is not None
    assert (good.answer.label, good.bundle, good.labels) == (2, DIGEST, ("low", "middle", "high"))
    assert (bad.answer, bad.reason) == (None, Reason.INPUT_NON_FINITE)
    assert watch.seen == [(7, 2)]


def test_what_somebody_asks_is_nothing_against_the_bundle() -> None:
    class Asked:
        def read(self, _timeout_s: float) -> Reading | None:
            return Reading(0, 0, 0, {"x": np.zeros(2, np.float32)}, reply=told.append)

        def close(self) -> None:
            pass

    told: list[Reply] = []
    outcomes: list[object] = []
    records = KeptRecords()
    loop = Loop(Asked(), records, ManualClock(), lambda *outcome: outcomes.append(outcome))
    loop.swap(session(), ORIGIN)
    loop.step(0)
    assert (
        [reply.reason for reply in told] == [code for code, _detail, _bundle in records.events] == [Reason.INPUT_SHAPE]
    )
    assert outcomes == []

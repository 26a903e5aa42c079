"""Drift: what is counted of readings and answers, that counts add, and when the device itself tells of a shift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import DIGEST, INPUT, OUTPUT, KeptRecords, manifest, session

from sprat_device.board.settings.drift import DriftSettings
from sprat_device.contract import statistics, summary
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import TensorSpec
from sprat_device.contract.records import Origin
from sprat_device.contract.sketch import Histogram, ks, psi, psi_noise
from sprat_device.contract.summary import Summary
from sprat_device.inference.drift import Drift
from sprat_device.inference.looks import VALUES_PER_S
from sprat_device.inference.loop import Loop
from sprat_device.inference.shift import Shift
from sprat_device.inference.sources.replay import Replay

EDGES = np.array([1.0, 3.0, 8.0])
SOME = np.zeros(4, np.int64)
WINDOW = TensorSpec("w", "float32", (1, 50, 2), features=("ax", "ay"))
IMAGE = TensorSpec("image", "float32", (1, 32, 32, 3))
SOUND = TensorSpec("sound", "float32", (1, 400))


def over(*names: str) -> Baseline:
    """Return a baseline of statistics over the same edges."""
    return Baseline({}, {}, np.zeros(0, np.int64), dict.fromkeys(names, EDGES), dict.fromkeys(names, SOME))


def counted(values: np.ndarray) -> tuple[int, ...]:
    return tuple(np.histogram(values, [-np.inf, *EDGES, np.inf])[0].tolist())


def test_every_short_reading_is_counted_over_the_frozen_edges() -> None:
    rows = np.random.default_rng(7).uniform(0, 10, (1000, 3)).astype(np.float32)
    drift = Drift(manifest(), Baseline({"b": EDGES, "x": EDGES}, {"b": SOME, "x": SOME}, np.array([1])))
    for row in rows:
        drift.add({"x": row}, 0)
    taken = drift.take()
    assert taken == {"b": counted(rows[:, 1]), "x": counted(rows)}
    assert sum(drift.take()["x"]) == 0


def test_counts_of_two_devices_are_those_of_one_that_saw_both() -> None:
    rows = np.random.default_rng(3).normal(4, 3, (600, 50, 2))
    baseline = over("mean:ax", "std:ay")
    one, two, both = (Drift(manifest(inputs=(WINDOW,)), baseline) for _ in range(3))
    for place, row in enumerate(rows):
        (one if place % 3 else two).add({"w": row}, 0)
        both.add({"w": row}, 0)
    first, second, whole = one.take(), two.take(), both.take()
    assert {name: tuple(map(sum, zip(first[name], second[name], strict=True))) for name in whole} == whole
    assert sum(whole["mean:ax"]) == 600


def test_each_named_channel_of_a_window_has_its_mean_and_deviation() -> None:
    rows = np.random.default_rng(1).normal((2, 6), (1, 4), (300, 50, 2))
    drift = Drift(manifest(inputs=(WINDOW,)), over("mean:ax", "std:ax", "mean:ay", "std:ay"))
    for row in rows:
        drift.add({"w": row}, 0)
    assert drift.take() == {
        "mean:ax": counted(rows[..., 0].mean(axis=1)), "std:ax": counted(rows[..., 0].std(axis=1)),
        "mean:ay": counted(rows[..., 1].mean(axis=1)), "std:ay": counted(rows[..., 1].std(axis=1)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (INPUT, []),
        (WINDOW, ["mean:ax", "std:ax", "mean:ay", "std:ay"]),
        (IMAGE, [f"{kind}:image[{channel}]" for channel in range(3) for kind in ("mean", "std")]),
        (replace(IMAGE, shape=(1, 8, 8, 1)), ["mean:image", "std:image"]),
        (SOUND, ["mean:sound", "std:sound"]),
        (replace(SOUND, shape=(1, 49, 40)), ["mean:sound", "std:sound"]),
        (replace(SOUND, shape=(1, 3)), []),
        (replace(INPUT, missing_allowed=True), ["missing:a", "missing:b", "missing:c"]),
        (TensorSpec("t", "string", (1, 2)), []),
    ],
)
def test_the_shape_of_an_input_says_which_statistics_it_has(spec: TensorSpec, names: list[str]) -> None:
    assert [one.name for one in statistics.of_input(spec)] == names


def test_missing_values_are_counted_and_left_out_of_their_feature() -> None:
    described = manifest(inputs=(replace(INPUT, missing_allowed=True),))
    baseline = replace(over("missing:a"), edges={"a": EDGES}, counts={"a": SOME})
    baseline = replace(
        baseline, statistic_edges={"missing:a": np.array([0.5])}, statistic_counts={"missing:a": SOME[:2]}
    )
    drift = Drift(described, baseline)
    for value in (np.nan, 2.0, 5.0, np.nan, np.nan):
        drift.add({"x": np.array([value, np.nan, 0])}, 0)
    assert drift.take() == {"missing:a": (2, 3), "a": (0, 1, 1, 0)}


def test_of_large_readings_so_many_are_looked_at_as_the_processor_can_spare() -> None:
    drift = Drift(manifest(inputs=(IMAGE,)), over("mean:image[0]"))
    image = np.full((32, 32, 3), 2.0, np.float32)
    per_second = VALUES_PER_S // image.size
    for place in range(20_000):
        drift.add({"image": image}, place * 1000)  # a thousand a second, twenty seconds long
    assert sum(drift.take()["mean:image[0]"]) == pytest.approx(21 * per_second, rel=0.05)
    for place in range(100):
        drift.add({"image": image}, 10**9 + place * 1_000_000)  # one a second: each of them
    assert sum(drift.take()["mean:image[0]"]) == 100


@pytest.mark.parametrize(
    ("outputs", "names", "given"),
    [
        ((OUTPUT,), {"output:confidence": 0.7}, [0.1, 0.2, 0.7]),
        ((replace(OUTPUT, meaning="decision"),), {"output:decision": 5.0}, [-1.0, 5.0, 2.0]),
        ((TensorSpec("s", "float32", (1, 1), meaning="score"),), {"output:score": 0.25}, [0.25]),
        ((TensorSpec("v", "float32", (1, 1), meaning="values"),), {"output:value": 7.0}, [7.0]),
        ((replace(OUTPUT, meaning="values"),), {f"output:value[{i}]": float(i) for i in range(3)}, [0, 1, 2]),
    ],
)
def test_the_figure_of_an_answer_is_named_by_its_meaning(
    outputs: tuple[TensorSpec, ...], names: dict[str, float], given: list[float]
) -> None:
    meaning = statistics.meaning_of(outputs)
    found = statistics.of_answers(meaning, np.array([given], np.float32))
    assert {name: float(column[0]) for name, column in found.items()} == pytest.approx(names)
    drift = Drift(manifest(outputs=outputs), over(*names))
    drift.add_answers(np.array([given] * 5, np.float32))
    assert {name: sum(counts) for name, counts in drift.take().items()} == dict.fromkeys(names, 5)


def test_a_statistic_of_a_later_build_is_left_out() -> None:
    drift = Drift(manifest(), over("median:x", "mean:elsewhere"))
    drift.add({"x": np.zeros(3)}, 0)
    assert drift.take() == {}


def test_a_feature_that_no_input_has_is_refused() -> None:
    with pytest.raises(BundleRefused, match="'z' is neither a number input"):
        Drift(manifest(), Baseline({"z": EDGES}, {"z": SOME}, np.array([1])))


def test_psi_of_two_samples_of_one_distribution_stays_below_its_noise() -> None:
    rng = np.random.default_rng(11)
    shares = np.full(10, 0.1)
    found = [psi(rng.multinomial(2000, shares), rng.multinomial(500, shares)) for _ in range(2000)]
    limit = psi_noise(10, 2000, 500)
    assert np.mean(np.array(found) > limit) < 0.005
    assert np.quantile(found, 0.99) > limit / 2, "a limit that nothing comes near would hide a shift"


def test_ks_is_the_largest_gap_between_the_shares() -> None:
    assert ks(np.array([50, 50, 0]), np.array([0, 50, 50])) == pytest.approx(0.5)
    assert ks(np.array([1, 2, 3]), np.array([10, 20, 30])) == pytest.approx(0)


class Rig:
    """A loop whose rows come from a distribution, and a baseline frozen of that of `normal`."""

    def __init__(self, settings: DriftSettings) -> None:
        self.rng = np.random.default_rng(5)
        reference = Histogram.empty([4.0, 4.5, 5.0, 5.5, 6.0])
        reference.add(self.rng.normal(5, 1, 5000))
        baseline = Baseline({"a": reference.edges}, {"a": reference.counts}, np.array([0, 0, 0]))
        self.clock, self.records = ManualClock(), KeptRecords()
        self.settings, self.baseline = settings, baseline
        self.loop: Loop | None = None

    def feed(self, mean: float, rows: int) -> list[str]:
        """Run rows in summaries of 100, and return the codes of the events that came of them."""
        data = np.column_stack([np.clip(self.rng.normal(mean, 1, rows), 0, 10), np.ones(rows), np.ones(rows)])
        source = Replay({"x": data.astype(np.float32)}, self.clock, loop=False, sleep=lambda _s: None)
        if self.loop is None:
            self.loop = Loop(
                source, self.records, self.clock, lambda *_: None, summary_interval_s=60, drift=self.settings
            )
            self.loop.swap(session(baseline=self.baseline), Origin(ModelName("tiny"), 1, DIGEST))
        self.loop._source = source
        before = len(self.records.events)
        for place in range(rows):
            if place % 100 == 99:
                self.clock.advance(60)
            self.loop.step(0)
        return [code for code, _detail, _bundle in self.records.events[before:]]


def test_a_shift_is_told_once_and_so_is_its_end() -> None:
    rig = Rig(DriftSettings(readings=500, psi=0.25))
    assert rig.feed(5, 2000) == []
    assert rig.feed(7, 2000) == ["drift"]
    _code, detail, bundle = rig.records.events[0]
    assert (detail["shifted"], bundle) == (1, DIGEST)
    figures = detail["features"]
    assert isinstance(figures, dict)
    assert figures["a"]["psi"] > 0.25
    assert 0.3 < figures["a"]["ks"] < 1
    assert rig.feed(5, 2000) == ["drift-ended"]


def test_without_readings_nothing_is_told_and_the_counts_go_out_all_the_same() -> None:
    rig = Rig(DriftSettings(readings=0))
    assert rig.feed(9, 2000) == []
    assert sum(sum(summary.parse(detail).drift["a"]) for detail, _bundle in rig.records.summaries) >= 1900


def test_other_classes_and_other_confidences_are_a_shift_too() -> None:
    baseline = Baseline(
        {}, {}, np.array([900, 100]), {"y:confidence": np.array([0.5, 0.9])}, {"y:confidence": np.array([10, 90, 900])}
    )

    def told(classes: dict[int, int], confidence: tuple[int, ...]) -> list[str]:
        watched = Shift(baseline, DriftSettings(readings=1000, psi=0.25))
        found = watched.add(Summary(1, 1000, classes=classes, drift={"y:confidence": confidence}))
        features = found.detail["features"] if found else {}
        assert isinstance(features, dict)
        return sorted(features)

    assert told({0: 890, 1: 110}, (11, 92, 897)) == []
    assert told({0: 200, 1: 800, 7: 1}, (11, 92, 897)) == ["classes"]
    assert told({0: 890, 1: 110}, (300, 600, 100)) == ["y:confidence"]


def test_a_shift_that_hovers_at_its_limit_is_told_once() -> None:
    reference = np.full(10, 1000, np.int64)
    watched = Shift(
        Baseline({"a": np.arange(9.0)}, {"a": reference}, np.zeros(0, np.int64)), DriftSettings(readings=1000, psi=0.25)
    )

    def told(value: float) -> str:
        """Judge counts whose PSI against the reference is about `value`."""
        moved = next(n for n in range(500) if psi(reference, spread(n)) >= value)
        found = watched.add(Summary(1, 1000, drift={"a": tuple(spread(moved).tolist())}))
        return found.code if found else ""

    def spread(moved: int) -> np.ndarray:
        counts = np.full(10, 100)
        counts[:5] -= moved // 5
        counts[5:] += moved // 5
        return counts

    assert [told(value) for value in (0.2, 0.3, 0.2, 0.3, 0.2, 0.1, 0.3)] == [
        "", "drift", "", "", "", "drift-ended", "drift",
    ]  # fmt: skip

"""The frozen baseline: counted as a device will count, and with scores of rows that the model was not trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sprat.compiler import reference
from sprat.compiler.spec import recipe as recipes
from sprat.compiler.spec.factory import Part
from sprat_device.contract import bundle as bundles
from sprat_device.contract import statistics
from sprat_device.contract.bundle import Baseline, Bundle
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.manifest import TensorSpec
from sprat_device.contract.sketch import Histogram, psi

TEXT = (Path(__file__).parents[3] / "models" / "occupancy" / "recipe.toml").read_text()
RECIPE = recipes.parse(TEXT, name="r.toml")
FEATURES = RECIPE.inputs[0].features
PREDICTED = np.eye(2)[np.arange(400) % 2]


def part(rows: np.ndarray) -> Part:
    return Part({"reading": rows}, np.zeros(len(rows), np.int64))


def spec(*shape: int, **facts: object) -> TensorSpec:
    return replace(TensorSpec("reading", "float32", (1, *shape), features=FEATURES), **facts)


def test_a_value_that_lies_on_an_edge_falls_on_the_same_side_on_the_device() -> None:
    # One decimal, as sensors give it: as float32 most of these lie beside what they are as float64.
    rows = np.round(np.random.default_rng(2).normal(21, 0.3, (400, 4)), 1)
    frozen = reference.baseline(part(rows), PREDICTED, RECIPE, specs=(spec(4),))
    for column, name in enumerate(FEATURES):
        seen = Histogram.empty(frozen.edges[name])
        seen.add(rows[:, column].astype(np.float32))
        assert seen.counts.tolist() == frozen.counts[name].tolist()
    naive = reference.baseline(part(rows), PREDICTED, RECIPE)
    shifted = Histogram.empty(naive.edges[FEATURES[0]])
    shifted.add(rows[:, 0].astype(np.float32))
    assert psi(naive.counts[FEATURES[0]], shifted.counts) > 0.1, "the fault that the dtype prevents"


def test_a_feature_of_a_window_is_its_channel_over_all_steps() -> None:
    rows = np.random.default_rng(2).normal((0, 10, 20, 30), 1, (400, 50, 4)).astype(np.float32)
    frozen = reference.baseline(part(rows), PREDICTED, RECIPE, specs=(spec(50, 4),))
    for column, name in enumerate(FEATURES):
        assert frozen.counts[name].sum() == rows[..., column].size
        assert frozen.edges[name].mean() == pytest.approx(10 * column, abs=0.3)
    means = np.sort(rows[..., 1].astype(np.float64).mean(axis=1))
    edges = frozen.statistic_edges[f"mean:{FEATURES[1]}"]
    assert (len(edges), means[0] < edges[0] < edges[-1] < means[-1]) == (9, True)


def test_the_readings_of_a_stream_are_counted_one_by_one() -> None:
    rows = np.random.default_rng(2).normal(0, 1, (400, 5, 20)).astype(np.float32)
    one = replace(RECIPE.inputs[0], features=())
    frozen = reference.baseline(
        part(rows), PREDICTED, replace(RECIPE, inputs=(one,)), specs=(spec(20, features=()),), steps=5
    )
    assert frozen.statistic_counts["mean:reading"].sum() == 400 * 5


def test_missing_values_are_a_statistic_of_their_own() -> None:
    rows = np.random.default_rng(2).normal(0, 1, (400, 4))
    rows[:100, 2] = np.nan
    frozen = reference.baseline(part(rows), PREDICTED, RECIPE, specs=(spec(4, missing_allowed=True),))
    assert frozen.statistic_counts[f"missing:{FEATURES[2]}"].tolist() == [300, 100]
    assert frozen.counts[FEATURES[2]].sum() == 300
    rows[:, 1] = np.nan
    empty = reference.baseline(part(rows), PREDICTED, RECIPE, specs=(spec(4, missing_allowed=True),))
    assert (empty.edges[FEATURES[1]].size, empty.counts[FEATURES[1]].tolist()) == (0, [0])


def test_the_same_rows_give_the_same_bytes_and_they_read_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).normal(0, 1, (400, 4))
    figures = statistics.of_answers("probabilities", PREDICTED)
    made = [reference.baseline(part(rows), PREDICTED, RECIPE, specs=(spec(4),), answers=figures) for _ in range(2)]
    assert made[0].dump() == made[1].dump()
    back = opened(made[0])
    assert set(back.statistic_edges) == {"output:confidence"}
    assert set(back.all_counts) == {*FEATURES, "output:confidence"}
    assert np.array_equal(back.statistic_counts["output:confidence"], made[0].statistic_counts["output:confidence"])


def test_a_baseline_of_an_earlier_build_has_no_statistics() -> None:
    old = Baseline({"a": np.array([1.0])}, {"a": np.array([1, 2])}, np.array([3, 4]))
    assert opened(old).all_counts.keys() == {"a"}


def test_statistics_without_their_counts_are_refused() -> None:
    torn = Baseline({}, {}, np.array([1]), {"mean:x": np.array([1.0])}, {"mean:x": np.array([1, 2, 3])})
    with pytest.raises(BundleRefused, match="do not fit each other"):
        opened(torn)


class _Parts(Bundle):
    """A bundle whose one part is given."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.manifest = type("Manifest", (), {"baseline_sha256": ""})()  # type: ignore[assignment]

    def _part(self, name: str, sha256: str) -> bytes:
        assert name == bundles.BASELINE
        return self._raw


def opened(baseline: Baseline) -> Baseline:
    return _Parts(baseline.dump()).baseline()

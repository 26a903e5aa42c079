import numpy as np
import pytest

from sprat.data import split
from sprat.data.split import SplitPlan
from sprat.errors import RecipeError


def _rows(count=200, width=3):
    return {"x": np.random.default_rng(0).normal(size=(count, width))}


@pytest.mark.parametrize("method", split.METHODS)
def test_parts_are_disjoint_whole_and_repeatable(method):
    inputs, labels = _rows(), np.arange(200) % 4
    plan = SplitPlan(method=method, seed=3)
    rows = split.split(inputs, labels, plan=plan)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(200))
    assert split.shared_rows(rows, split.row_digests(inputs)) == 0
    again = split.split(inputs, labels, plan=plan)
    assert all(np.array_equal(rows[name], again[name]) for name in split.PARTS)


def test_stratified_keeps_the_share_of_each_class():
    labels = np.array([0] * 150 + [1] * 50)
    rows = split.split(_rows(), labels, plan=SplitPlan(seed=1))
    for part in rows.values():
        assert np.mean(labels[part] == 1) == pytest.approx(0.25, abs=0.03)


def test_stratified_does_not_beat_against_classes_that_take_turns():
    labels = np.arange(1000) % 10
    rows = split.split(_rows(1000), labels, plan=SplitPlan(seed=1))
    assert np.bincount(labels[rows["test"]]).tolist() == [20] * 10


def test_ordered_tests_on_the_newest_rows():
    rows = split.split(_rows(), None, plan=SplitPlan(method="ordered"))
    assert rows["test"].min() > max(rows[name].max() for name in ("train", "calibration", "validation"))


def test_copies_of_a_row_go_to_one_part():
    half = _rows(100)["x"]
    inputs = {"x": np.concatenate([half, half])}
    rows = split.split(inputs, None, plan=SplitPlan(method="random", seed=5))
    assert split.shared_rows(rows, split.row_digests(inputs)) == 0


def test_copies_across_parts_are_counted_where_time_decides():
    half = _rows(100)["x"]
    inputs = {"x": np.concatenate([half, half])}
    rows = split.split(inputs, None, plan=SplitPlan(method="ordered"))
    assert split.shared_rows(rows, split.row_digests(inputs)) > 0


def test_too_few_rows_name_the_empty_part():
    with pytest.raises(RecipeError, match="got no row of 3"):
        split.split(_rows(3), None, plan=SplitPlan(method="ordered"))


def test_the_digest_of_a_part_is_of_its_content():
    digests = split.row_digests(_rows(10))
    assert split.part_digest(np.array([1, 2]), digests) == split.part_digest(np.array([2, 1]), digests)
    assert split.part_digest(np.array([1, 2]), digests) != split.part_digest(np.array([1, 3]), digests)

import numpy as np
import pytest

from sprat.data import split
from sprat.data.split import SplitPlan
from sprat.errors import RecipeError


def _rows(count=200, width=3):
    return {"x": np.random.default_rng(0).normal(size=(count, width))}


@pytest.mark.parametrize("method", split.METHODS)
def test_parts_are_disjoint_whole_and_repeatable(method):
    inputs, labels, by = _rows(), np.arange(200) % 4, np.arange(200) // 10
    plan = SplitPlan(method=method, seed=3)
    rows = split.split(inputs, labels, plan=plan, by=by)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(200))
    assert split.shared_rows(rows, split.row_digests(inputs)) == 0
    again = split.split(inputs, labels, plan=plan, by=by)
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


@pytest.mark.parametrize("kind", [np.int64, np.str_, np.float64])
def test_no_group_is_in_two_parts_and_the_shares_are_about_kept(kind):
    subject = np.random.default_rng(2).integers(0, 40, 2000).astype(kind)
    plan = SplitPlan(method="groups", seed=4, by="subject")
    rows = split.split(_rows(2000), None, plan=plan, by=subject)
    assert split.shared_rows(rows, split.group_digests(subject)) == 0
    for part, share in zip(split.PARTS, plan.shares, strict=True):
        assert len(rows[part]) / 2000 == pytest.approx(share, abs=0.05)
    torn = {"a": np.array([0]), "b": np.flatnonzero(subject == subject[0])[1:2]}
    assert split.shared_rows(torn, split.group_digests(subject)) == 2


def test_as_few_groups_as_parts_leave_none_empty_and_fewer_are_refused():
    plan = SplitPlan(method="groups", by="subject")
    for seed in range(20):
        rows = split.split(_rows(), None, plan=SplitPlan(method="groups", seed=seed, by="s"), by=np.arange(200) // 50)
        assert all(len(part) == 50 for part in rows.values())
    with pytest.raises(RecipeError, match="column 'subject' has 3 groups, 4 parts"):
        split.split(_rows(), None, plan=plan, by=np.arange(200) % 3)


def test_time_tests_on_the_newest_rows_whatever_their_order_and_tears_no_moment():
    moments = np.random.default_rng(3).permutation(np.repeat(np.arange(40.0), 5))
    rows = split.split(_rows(), None, plan=SplitPlan(method="time", by="when"), by=moments)
    for earlier, later in zip(split.PARTS, split.PARTS[1:], strict=False):
        assert moments[rows[earlier]].max() < moments[rows[later]].min()
    assert split.shared_rows(rows, split.group_digests(moments)) == 0


@pytest.mark.parametrize("method", sorted(split.BY))
@pytest.mark.parametrize("by", [None, np.full(200, np.nan), np.zeros((200, 2))])
def test_a_split_by_a_column_needs_one_whole_value_a_row(method, by):
    with pytest.raises(RecipeError, match="column 'c' must have one value in each row"):
        split.split(_rows(), None, plan=SplitPlan(method=method, by="c"), by=by)


def test_all_rows_of_one_moment_name_the_empty_part():
    with pytest.raises(RecipeError, match="got no row of 200"):
        split.split(_rows(), None, plan=SplitPlan(method="time", by="c"), by=np.zeros(200))

from pathlib import Path

import numpy as np
import pytest

from sprat.data import distribution, quality, split
from sprat.data.quality import Severity, sample
from sprat.data.quality.columns import robust_z
from sprat.data.quality.rows import drift
from sprat.data.split import SplitPlan

NAMES = ("off", "on")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def _codes(findings):
    return {(one.column, one.code) for one in findings}


def test_clean_columns_give_no_finding(rng):
    table = {"a": rng.normal(size=2000), "b": rng.gamma(2, size=2000), "c": rng.integers(0, 5, 2000)}
    assert quality.examine(table) == []


def test_the_robust_z_is_the_one_of_its_authors():
    median, scale = robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert median == 3
    assert (100 - median) / scale == pytest.approx(0.6745 * 97 / 1)


def test_one_broken_reading_among_many_is_found_with_its_row(rng):
    column = rng.normal(640, 30, 300_000)
    column[123_456] = 65535
    [found] = quality.examine({"co2": column})
    assert found.code == "outliers"
    assert "1 outliers, such as 65535 in row 123456" in found.sentence


def test_a_column_with_two_humps_has_no_outliers(rng):
    assert quality.examine({"co2": np.concatenate([rng.normal(450, 10, 800), rng.normal(1500, 50, 200)])}) == []


def test_an_outlier_in_a_window_names_its_row_and_pixels_have_none(rng):
    windows = rng.normal(size=(200, 6, 4))
    windows[150, 3, 2] = 500
    assert "in row 150 " in quality.examine({"w": windows})[0].sentence
    pixels = np.zeros((200, 8, 8), np.uint8)
    pixels[5, 5, 5] = 255
    pixels[:, :4] = rng.integers(0, 3, (200, 4, 8))
    assert quality.examine({"image": pixels}) == []


def test_missing_nearly_constant_and_empty_columns():
    half = np.array(["x", "yy"] * 200)
    half[3] = "NA"
    stuck = np.zeros(400)
    stuck[:3] = 1
    found = quality.examine(
        {"t": half, "stuck": stuck, "empty": np.full(400, np.nan), "i": np.array([np.inf, *range(399)])}
    )
    assert _codes(found) == {("t", "missing"), ("stuck", "near-constant"), ("empty", "missing"), ("i", "missing")}
    assert [one.column for one in found if one.severity is Severity.ERROR] == ["empty"]


def test_copies_and_contradictions():
    x = np.repeat(np.arange(50.0), 2)[:, None]
    digests = split.row_digests({"x": x})
    assert _codes(quality.examine_rows(digests, None)) == {("rows", "duplicates")}
    agreeing, against = np.repeat(np.arange(50), 2) % 2, np.arange(100) % 2
    assert _codes(quality.examine_rows(digests, agreeing)) == {("rows", "duplicates")}
    assert "100 rows equal another" in quality.examine_rows(digests, against)[1].sentence
    assert quality.examine_rows(split.row_digests({"x": np.arange(9.0)[:, None]}), against[:9]) == []


def _parts(count):
    return split.split({"x": np.arange(count)}, None, plan=SplitPlan(method="random", seed=1))


def test_test_rows_that_are_all_but_training_rows_are_found(rng):
    base = rng.normal(size=(300, 5))
    twice = {"x": np.concatenate([base, base + 1e-4])}
    found = quality.examine_parts(twice, _parts(600), split.row_digests(twice))
    assert _codes(found) == {("rows", "near-leakage")}
    fresh = {"x": rng.normal(size=(600, 5))}
    assert quality.examine_parts(fresh, _parts(600), split.row_digests(fresh)) == []


def test_exact_copies_across_parts_are_counted(rng):
    base = rng.normal(size=(200, 5))
    twice = {"x": np.concatenate([base, base])}
    assert ("rows", "leakage") in _codes(quality.examine_parts(twice, _parts(400), split.row_digests(twice)))


def test_one_calibration_row_is_an_error_and_few_are_a_finding(rng):
    inputs = {"x": rng.normal(size=(100, 5))}
    digests = split.row_digests(inputs)
    rows = {
        "train": np.arange(60),
        "calibration": np.array([60]),
        "validation": np.arange(70, 80),
        "test": np.arange(80, 100),
    }
    [found] = quality.examine_parts(inputs, rows, digests)
    assert (found.code, found.severity) == ("calibration", Severity.ERROR)
    [found] = quality.examine_parts(inputs, rows | {"calibration": np.arange(60, 70)}, digests)
    assert (found.code, found.severity) == ("calibration", Severity.FINDING)


def test_one_class_is_an_error():
    [found] = quality.balance(np.zeros(50, np.int64), NAMES)
    assert (found.code, found.severity) == ("one-class", Severity.ERROR)


@pytest.mark.parametrize(
    "labels", [np.arange(600) % 2, np.sort(np.arange(600) % 3), (np.arange(600) < 30).astype(np.int64)]
)
def test_a_feature_that_tells_the_label_alone_is_found(labels, rng):
    leak = labels * 10 + rng.normal(scale=0.1, size=600)
    honest = labels + rng.normal(scale=1.0, size=600)
    features = {
        "leak": leak,
        "words": np.array(["a", "b", "c"])[labels],
        "honest": honest,
        "noise": rng.normal(size=600),
    }
    inputs = {"x": np.stack([honest, features["noise"]], axis=1)}
    found = quality.examine_labels(features, inputs, labels, ("a", "b", "c"))
    assert {name for name, code in _codes(found) if code == "label-leak"} == {"leak", "words"}


def test_a_row_number_of_sorted_classes_is_a_leak():
    labels = np.sort(np.arange(600) % 3)
    found = quality.examine_labels({"id": np.arange(600)}, {}, labels, ("a", "b", "c"))
    assert _codes(found) == {("id", "label-leak")}


def test_a_number_that_orders_as_the_label_is_a_leak(rng):
    truth = rng.normal(size=(500, 1))
    features = {"same": np.exp(truth[:, 0]), "near": truth[:, 0] + rng.normal(scale=0.3, size=500)}
    assert _codes(quality.examine_labels(features, {}, truth, ())) == {("same", "label-leak")}


def test_labels_that_all_neighbours_contradict_are_hinted(rng):
    labels = np.arange(600) % 2
    x = rng.normal(size=(600, 4)) + 8 * labels[:, None]
    assert quality.examine_labels({}, {"x": x}, labels, NAMES) == []
    wrong = labels.copy()
    wrong[:18] = 1 - wrong[:18]
    [found] = quality.examine_labels({}, {"x": x}, wrong, NAMES)
    assert found.code == "label-noise"
    count = int(found.sentence.split()[0])
    assert 15 <= count <= 18  # some of the wrong ones have each other among their five
    assert "row 0 ('on' among 'off')" in found.sentence


def test_labels_that_do_not_follow_from_the_inputs_give_no_hint(rng):
    assert quality.examine_labels({}, {"x": rng.normal(size=(600, 4))}, np.arange(600) % 2, NAMES) == []


@pytest.mark.parametrize(("apart", "told"), [(1, True), (4, False)])
def test_where_neighbours_contradict_many_labels_they_are_to_blame(rng, apart, told):
    centres = np.array([[100.0 * (i % 5), 100.0 * (i // 5)] for i in range(25)])
    around = np.array([[3.0, 0], [-3, 0], [0, 3], [0, -3]])[:apart]
    x = np.concatenate([np.concatenate([c + rng.normal(scale=0.1, size=(20, 2)), c + around]) for c in centres])
    labels = np.concatenate([[i % 2] * 20 + [1 - i % 2] * apart for i in range(25)])
    found = {one.code for one in quality.examine_labels({}, {"x": x}, labels, NAMES)}
    assert ("label-noise" in found) is told


def test_drift_is_told_beyond_what_chance_gives(rng):
    train = rng.normal(size=300)
    assert drift("x", train, rng.normal(size=100)) == []
    assert _codes(drift("x", train, rng.normal(2.0, size=100))) == {("x", "drift")}
    assert distribution.shift(np.array(["a"] * 50), np.array(["b"] * 50)) > 1
    assert distribution.shift(np.zeros(100), np.ones(100)) > 1


def test_a_look_is_bounded_however_much_there_is():
    assert len(sample.some(np.arange(10_000), 2000, width=1)) == 2000
    assert len(sample.some(np.arange(10_000), 2000, width=64 * 64 * 3)) * 64 * 64 * 3 <= 4_000_000
    assert sample.some(np.arange(5, 9), 2000).tolist() == [5, 6, 7, 8]


def test_distances_are_in_standard_deviations_and_columns_that_stand_still_count_nothing():
    like = np.array([[0.0, 7.0], [2.0, 7.0]])
    gaps = sample.distances(sample.scaled(like, like), sample.scaled(like + np.array([1.0, 5.0]), like))
    assert gaps[0].tolist() == pytest.approx([1 / 2**0.5, 3 / 2**0.5])


def test_a_missing_value_is_the_mean_of_its_column():
    rows = sample.flat({"x": np.array([[1.0, np.nan], [3.0, 4.0]])}, np.arange(2))
    assert rows.tolist() == [[1, 4], [3, 4]]


def test_every_code_stands_in_the_docs():
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
    assert [code for code in quality.Code if f"| `{code}` |" not in page] == []

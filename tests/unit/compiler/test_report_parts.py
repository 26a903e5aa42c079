"""The report's parts on made-up answers: figures by hand, pictures that follow the theme, sentences for each loser."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from sprat.compiler.report import anatomy, answer_charts, charts, explain
from sprat.compiler.report import pictures as report_pictures
from sprat.compiler.result import BuildResult, CandidateRow
from sprat.compiler.spec.gates import GateCode

LABELS = ("calm", "busy", "broken")


def _row(scheme, size=1000, metric=0.98, *, chosen=False, front=False, reason="", runtimes=("litert",), **rest):
    return CandidateRow("pi", scheme, size, metric, 0.01, 0.99, 10.0, 100.0, runtimes, chosen, front, reason, **rest)


ROWS = (
    _row("float32", 3000, 0.99, front=True, reason="outranked: int8 is smaller (1000 against 3000 bytes)"),
    _row("int8", chosen=True, front=True),
    _row("dynamic", 900, 0.5, runtimes=(), reason="metric-drop: litert: accuracy drops by 0.4900"),
    _row("int8-full", 0, 0.0, runtimes=(), reason="conversion-failed: the process ended with signal 11"),
)


def _document(rows):
    return BuildResult("m", "accuracy", 0.99, 0.4, (), rows).document()


def test_the_calibration_error_is_that_of_the_formula():
    # Four rows at 0.75, three of them right: no error. Two rows at 0.95, one right: off by 0.45, a third of the rows.
    scores = np.array([[0.75, 0.25]] * 4 + [[0.95, 0.05]] * 2)
    truth = np.array([0, 0, 0, 1, 0, 1])
    found = answer_charts.reliability_of(truth, scores)
    assert found.ece == pytest.approx(0.45 / 3)
    assert found.rows.tolist() == [4, 2]
    assert found.right.tolist() == [0.75, 0.5]
    assert answer_charts.reliability_of(truth, np.eye(2)[truth]).ece == 0.0


def test_recall_is_told_for_each_class_and_unknown_without_rows():
    found = answer_charts.recalls(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    assert found[:2].tolist() == [0.5, 1.0]
    assert np.isnan(found[2])


def _pictures():
    truth, other = np.array([0, 1, 2, 1]), np.array([0, 1, 1, 1])
    scores = np.eye(3)[other] * 0.7 + 0.1
    yield charts.pareto(list(enumerate(ROWS, 1)), metric="accuracy", research=0.99)
    yield charts.drops([("int8 on litert", 0.01, 0.0, 0.02, True)], metric="accuracy", allowed=0.02)
    yield charts.bars(["run 1", "run 2"], {"accuracy": [0.9, 0.8], "f1": [0.7, 0.6]}, label="metric", title="runs")
    yield answer_charts.confusion(truth, other, LABELS, title="a < b & c")
    yield answer_charts.recall(truth, {"float": truth, "int8": other}, LABELS)
    yield answer_charts.reliability(truth, {"float": scores, "int8": scores})
    yield answer_charts.scatter(truth * 1.0, other * 1.0, title="values")
    yield answer_charts.spread({"float": np.array([0.0, 1.0]), "int8": np.array([np.nan, 2.0])}, label="v", title="w")


@pytest.mark.parametrize("number", range(8))
def test_a_picture_is_whole_follows_the_theme_and_is_the_same_twice(number):
    picture, again = list(_pictures())[number], list(_pictures())[number]
    ET.fromstring(picture)  # noqa: S314 - our own text
    assert picture == again
    assert "var(--ink)" in picture
    # Every colour is one of the page's: a fixed one would vanish in one of the themes.
    assert re.findall(r"#[0-9a-f]{6}\b", picture) == []
    assert re.findall(r'<g id="', picture) == []
    ET.fromstring(charts.alone(picture))  # noqa: S314
    assert "prefers-color-scheme: dark" in charts.alone(picture)


def test_numbers_that_would_overlap_share_one_label():
    found = charts._together({1: (10.0, 0.5), 2: (10.1, 0.5), 3: (90.0, 0.9)})
    assert [numbers for _, numbers in found] == [[1, 2], [3]]


def test_each_loser_has_its_sentence_with_what_to_change():
    chosen, first, lost, failed = explain.sentences(_document(ROWS))
    assert chosen.startswith("pi: int8 was chosen: 1,000 bytes, accuracy 0.9800")
    assert "int8 is smaller" in first
    assert "3.00 times the bytes" in first
    assert "Pareto front" in first
    assert "loses more of the metric" in lost
    assert "gates.max_drop" in lost
    assert "signal 11" in failed


def test_where_nothing_fits_the_sentence_says_what_to_change():
    said = explain.sentences(_document(ROWS[2:]))
    assert said[0].startswith("pi: no candidate fits. To change: bring more calibration rows")
    assert len(said) == 3


def test_a_tensor_finds_the_one_that_it_was_made_from():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 100), rng.normal(0.5, 1, 100)
    other = {"weight/a;renamed": first, "weight/b": second, "activation/a": first}
    assert report_pictures._twin("weight/z", second + 1e-3, other) is second
    assert report_pictures._twin("activation/a", second, other) is first
    assert report_pictures._twin("activation/z", second, other) is None


def test_an_artifact_that_cannot_be_run_gives_no_tensors(tmp_path):
    for name in ("bad.tflite", "bad.onnx"):
        (tmp_path / name).write_bytes(b"no model")
        assert anatomy.look(tmp_path / name, {"x": np.zeros((1, 2), np.float32)}) == {}


def test_every_code_that_stops_a_candidate_has_its_words():
    of_builds = {"yardstick", "min-metric", "stale-data", "feature-changed", "nothing-fits"}
    assert {str(code) for code in GateCode} - of_builds == {str(code) for code in explain._MEANING}


def test_many_classes_and_many_values_stay_readable_and_small():
    rng = np.random.default_rng(0)
    labels = [f"class {i}" for i in range(214)]
    truth = rng.integers(0, 214, 2000)
    guess = np.where(truth == 7, 8, truth)
    shown = answer_charts.recall(truth, {"float": truth, "int8": guess}, labels)
    assert "class 7<" in shown
    assert shown.count(">class ") == 40
    assert len(answer_charts.confusion(truth, guess, labels, title="many")) < 400_000
    values = rng.normal(size=(20, 15_232))
    assert len(answer_charts.scatter(values, values + 0.1, title="detector")) < 1_500_000


def test_where_a_budget_is_all_that_is_missed_only_that_has_to_change():
    rows = [{"reason": "over-latency: p50 latency 14 us"}, {"reason": "parity: trees"}, {"reason": "no-op: nothing"}]
    assert explain.what_to_change(rows) == "To change: make the model smaller, or raise gates.max_latency_us."
    assert "(no gate should be moved for it)" in explain.what_to_change(rows[1:])
    assert explain.what_to_change(rows[2:]) == ""

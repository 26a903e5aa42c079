import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from sprat.compiler.proof import metrics, parity, ranks
from sprat.compiler.spec.gates import GateCode, Gates

TRUTH = np.array([0, 0, 0, 0, 1, 1])
SCORES = np.array([[0.1], [0.2], [0.3], [0.8], [0.7], [0.9]])


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=4, max_size=40))
def test_both_metrics_are_scikit_learns_with_ties(rows):
    truth, scores = np.array([0, 1, *(row[0] for row in rows)]), np.array([1, 2, *(row[1] for row in rows)])
    assert ranks.roc_auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores))
    assert ranks.average_precision(truth, scores) == pytest.approx(average_precision_score(truth, scores))


def test_the_threshold_has_the_best_f1_and_lies_between_two_scores():
    assert ranks.threshold(TRUTH, SCORES) == pytest.approx(0.5)
    assert ranks.threshold(np.array([0, 1]), np.array([[1.0], [2.0]])) == 1.5


def test_without_an_unusual_row_one_in_a_hundred_passes_for_unusual():
    scores = np.arange(1000.0)[:, None]
    chosen = ranks.threshold(np.zeros(1000, int), scores)
    assert int(np.sum(scores > chosen)) == 10


def test_chance_is_the_yardstick():
    assert metrics.yardstick("roc_auc", TRUTH, TRUTH, classes=2) == 0.5
    assert metrics.yardstick("average_precision", TRUTH, TRUTH, classes=2) == pytest.approx(1 / 3)


def test_gate_b_looks_at_the_order_of_the_rows_alone():
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 10 == 0
    scores = rng.normal(size=(200, 1)) + 3 * truth[:, None]
    same = parity.gate_b("roc_auc", truth.astype(int), scores, np.exp(scores), gates=Gates())
    assert (same.code, same.agreement, same.drop.high) == (None, 1.0, 0.0)
    shuffled = parity.gate_b("average_precision", truth.astype(int), scores, scores[::-1], gates=Gates())
    assert shuffled.code is GateCode.METRIC_DROP
    normal = np.where(truth, 100.0, rng.permutation(scores[:, 0]))[:, None]
    loose = Gates(max_drop=1, min_agreement=0.9)
    assert parity.gate_b("roc_auc", truth.astype(int), scores, normal, gates=loose).code is GateCode.AGREEMENT
    assert ranks.correlation(scores.ravel(), np.zeros(200)) == 0.0


def test_every_draw_holds_as_many_unusual_rows():
    rng = np.random.default_rng(0)
    assert all(TRUTH[ranks.drawn_by_class(TRUTH, rng)].sum() == 2 for _ in range(20))

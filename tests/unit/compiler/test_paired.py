import math

import numpy as np
import pytest

from sprat.compiler.proof import paired, parity
from sprat.compiler.spec.gates import GateCode, Gates

Z2 = paired.Z_95**2


def _scores(labels, classes=3):
    return np.where(np.eye(classes)[labels] > 0, 0.8, 0.1)


@pytest.mark.parametrize(
    ("lost", "gained", "expected"),
    [(0, 0, 1.0), (5, 0, 2 / 32), (8, 2, 2 * (1 + 10 + 45) / 1024), (2, 8, 112 / 1024), (3, 3, 1.0)],
)
def test_mcnemar_counts_the_tails_of_coin_tosses(lost, gained, expected):
    assert paired.mcnemar(lost, gained) == pytest.approx(expected)


def test_mcnemar_of_many_rows_is_the_binomial_test():
    stats = pytest.importorskip("scipy.stats")
    assert paired.mcnemar(3000, 2800) == pytest.approx(stats.binomtest(2800, 5800).pvalue, rel=1e-6)
    assert paired.mcnemar(9000, 0) == 0.0


def test_tangos_interval_does_not_vanish_where_no_row_differs():
    low, high = paired.interval(0, 0, 100)
    assert high == pytest.approx(Z2 / (100 + Z2))
    assert low == pytest.approx(-high)


def test_tangos_interval_turns_round_and_holds_the_value():
    low, high = paired.interval(14, 5, 50)
    assert low < 9 / 50 < high
    assert paired.interval(5, 14, 50) == pytest.approx((-high, -low))
    assert paired.interval(10, 0, 10)[1] == 1.0


@pytest.mark.parametrize(("lost", "gained", "rows", "drop"), [(14, 5, 50, 0.1), (3, 9, 40, 0.05), (6, 2, 30, -0.1)])
def test_the_score_uses_the_most_likely_share_at_that_drop(lost, gained, rows, drop):
    # By brute force: of all shares of gained rows, the one with the highest likelihood where lost - gained is the drop.
    shares = np.linspace(max(0.0, -drop) + 1e-6, (1 - drop) / 2 - 1e-6, 200_001)
    likely = (
        lost * np.log(shares + drop) + gained * np.log(shares) + (rows - lost - gained) * np.log(1 - 2 * shares - drop)
    )
    best = shares[likely.argmax()]
    expected = (lost - gained - rows * drop) / math.sqrt(rows * (2 * best + drop * (1 - drop)))
    assert paired._score(lost, gained, rows, drop) == pytest.approx(expected, rel=1e-3)


def test_tangos_interval_covers_the_truth_in_about_95_of_100_cases():
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(400, [0.05, 0.02, 0.93], size=1500)
    held = [low <= 0.03 <= high for low, high in (paired.interval(a, b, 400) for a, b, _ in drawn.tolist())]
    assert 0.935 < np.mean(held) < 0.965


def test_how_many_rows_it_takes():
    assert paired.rows_to_bound(0, 0, 50, 0.02) == math.ceil(Z2 * 0.98 / 0.02) == 189
    assert paired.interval(0, 0, 189)[1] <= 0.02 < paired.interval(0, 0, 188)[1]
    assert paired.rows_to_bound(5, 0, 100, 0.02) == 0  # the drop itself is over the limit


def test_equal_answers_on_few_rows_pass_with_a_note_that_names_the_rows_needed():
    truth = np.arange(60) % 3
    verdict = parity.gate_b("accuracy", truth, _scores(truth), _scores(truth), gates=Gates(max_drop=0.02))
    assert verdict.code is None
    assert verdict.p_value == 1.0
    assert (
        "60 test rows bound the drop of accuracy to 0.0602 only; gates.max_drop = 0.02 takes about 189" in verdict.note
    )
    many = np.arange(600) % 3
    assert parity.gate_b("accuracy", many, _scores(many), _scores(many), gates=Gates(max_drop=0.02)).note == ""


def test_a_stop_that_only_the_interval_makes_says_how_many_rows_would_tell():
    truth = np.arange(300) % 3
    wrong = truth.copy()
    wrong[:4] = (wrong[:4] + 1) % 3
    verdict = parity.gate_b("accuracy", truth, _scores(truth), _scores(wrong), gates=Gates(max_drop=0.02))
    assert verdict.code is GateCode.METRIC_DROP
    assert verdict.p_value == pytest.approx(0.125)
    assert "300 test rows are too few to tell, about " in verdict.sentence
    assert verdict.note == ""
    worse = parity.gate_b("accuracy", truth, _scores(truth), _scores((truth + 1) % 3), gates=Gates(max_drop=0.02))
    assert "too few" not in worse.sentence


LOOSE = Gates(max_drop=1, min_agreement=0, max_recall_drop=0.1)


def test_one_row_of_a_small_class_may_change_two_may_not():
    truth = np.array([0] * 200 + [1] * 200 + [2] * 4)
    for changed, code in ((1, None), (2, GateCode.RECALL_DROP)):
        wrong = truth.copy()
        wrong[400 : 400 + changed] = 0
        verdict = parity.gate_b(
            "accuracy", truth, _scores(truth), _scores(wrong), gates=LOOSE, labels=("a", "b", "rare")
        )  # fmt: skip
        assert verdict.code is code
        assert verdict.recall_drop == pytest.approx(changed / 4)
    assert "class 'rare' loses 0.5000 of its recall (2 of 4 rows)" in verdict.sentence


def test_classes_with_too_few_rows_are_named():
    truth = np.array([0] * 50 + [1] * 3)
    said = parity.small_classes(truth, ("many", "few", "none"), LOOSE)
    assert len(said) == 2
    assert "class 'few' has 3 test rows: its recall can be judged to 0.33 only" in said[0]
    assert "takes 10" in said[0]
    assert "class 'none' has no test row" in said[1]

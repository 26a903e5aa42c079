import numpy as np
import pytest

from sprat.compiler.proof import metrics, parity
from sprat.compiler.spec.gates import GateCode, Gates


def _scores(labels, classes=3, sure=0.8):
    rest = (1 - sure) / (classes - 1)
    return np.where(np.eye(classes)[labels] > 0, sure, rest)


TRUTH = np.arange(300) % 3
RESEARCH = _scores(TRUTH)


def test_gate_a_lets_equal_answers_through():
    assert parity.gate_a(RESEARCH, RESEARCH + 5e-5, classification=True).code is None


@pytest.mark.parametrize(
    ("artifact", "code"),
    [
        (RESEARCH + 2e-4, GateCode.PARITY),
        (RESEARCH[:, ::-1], GateCode.PARITY),
        (np.where(np.eye(300, 3) > 0, np.nan, RESEARCH), GateCode.NON_FINITE),
        (RESEARCH[:, :2], GateCode.PARITY),
    ],
)
def test_gate_a_stops_a_broken_conversion(artifact, code):
    assert parity.gate_a(RESEARCH, artifact, classification=True).code is code


def test_gate_a_allows_a_near_tie_to_change_places():
    tied = np.array([[0.50001, 0.49999]])
    assert parity.gate_a(tied, tied[:, ::-1], classification=True).code is None


def test_gate_a_compares_values_by_their_size():
    values = np.array([[100.0], [200.0]])
    assert parity.gate_a(values, values * 1.0005, classification=False).code is None
    assert parity.gate_a(values, values * 1.005, classification=False).code is GateCode.PARITY


def test_gate_b_counts_and_lets_equal_answers_through():
    verdict = parity.gate_b("accuracy", TRUTH, RESEARCH, RESEARCH, gates=Gates())
    assert verdict.code is None
    assert (verdict.correct, verdict.agreement, verdict.metric) == (300, 1.0, 1.0)
    assert (verdict.drop.low, verdict.drop.high) == (0.0, 0.0)


def test_the_interval_stops_what_the_mean_alone_would_let_through():
    wrong = TRUTH.copy()
    wrong[[0, 1, 2, 3]] = (wrong[[0, 1, 2, 3]] + 1) % 3
    verdict = parity.gate_b("accuracy", TRUTH, RESEARCH, _scores(wrong), gates=Gates(max_drop=0.02))
    assert verdict.drop.value < 0.02 < verdict.drop.high
    assert verdict.code is GateCode.METRIC_DROP


def test_gate_b_stops_a_lost_class_disagreement_and_nan():
    lost = TRUTH.copy()
    lost[TRUTH == 2] = 0
    loose = Gates(max_drop=1, min_agreement=0, max_recall_drop=0.5)
    assert parity.gate_b("accuracy", TRUTH, RESEARCH, _scores(lost), gates=loose).code is GateCode.RECALL_DROP
    research = _scores((TRUTH + 1) % 3)  # wrong everywhere: nothing to lose, but the answers differ
    strict = Gates(max_drop=1, min_agreement=0.9, max_recall_drop=1)
    assert parity.gate_b("accuracy", TRUTH, research, RESEARCH, gates=strict).code is GateCode.AGREEMENT
    broken = RESEARCH.copy()
    broken[0, 0] = np.inf
    assert parity.gate_b("accuracy", TRUTH, RESEARCH, broken, gates=loose).code is GateCode.NON_FINITE


def test_an_error_metric_drops_when_it_grows():
    truth = np.linspace(0, 10, 100)[:, None]
    good, bad = truth + 0.1, truth + 0.2
    assert metrics.metric_of("mae", truth, good) == pytest.approx(0.1)
    assert metrics.metric_of("rmse", truth, bad) == pytest.approx(0.2)
    assert parity.gate_b("mae", truth, good, bad, gates=Gates(max_drop=0.5)).code is GateCode.METRIC_DROP
    assert parity.gate_b("mae", truth, bad, good, gates=Gates()).drop.value == pytest.approx(-0.5)


def test_the_yardstick_is_the_majority_or_the_mean():
    truth = np.array([0, 0, 1])
    assert metrics.yardstick("accuracy", np.array([0, 0, 0, 1]), truth, classes=2) == pytest.approx(2 / 3)
    assert metrics.yardstick("balanced_accuracy", np.array([0, 0, 1]), truth, classes=2) == pytest.approx(0.5)
    values = np.array([[1.0], [3.0]])
    assert metrics.yardstick("mae", values, values, classes=0) == pytest.approx(1.0)
    assert metrics.beats("mae", 0.5, 1.0)
    assert not metrics.beats("accuracy", 0.5, 0.5)


def test_saturation_is_the_share_at_the_ends_of_an_integer_output():
    raw = {"y": np.array([[-128, 0, 127, 5]], np.int8), "z": np.zeros((1, 2), np.float32)}
    assert parity.with_saturation(parity.Verdict(), raw).saturation == 0.5

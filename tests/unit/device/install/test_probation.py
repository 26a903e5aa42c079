from sprat_device.contract.phases import Reason
from sprat_device.install.probation import Probation, Rules, Verdict, judge

RULES = Rules(predictions=50, starts=3, max_error_share=0.02)


def test_enough_good_predictions_prove_a_bundle() -> None:
    assert judge(Probation(starts=1, good=49), RULES) is None
    assert judge(Probation(starts=1, good=50), RULES) == Verdict(None)


def test_predictions_add_up_over_the_allowed_starts() -> None:
    assert judge(Probation(starts=3, good=49).observed(ok=True, latency_us=1), RULES) == Verdict(None)


def test_one_start_too_many_ends_a_trial() -> None:
    verdict = judge(Probation(starts=3, good=49).started(), RULES)
    assert verdict is not None
    assert verdict.reason is Reason.TOO_MANY_STARTS


def test_errors_end_a_trial_before_it_is_full() -> None:
    assert judge(Probation(starts=1, good=1, bad=1), RULES) is None  # 2 % of 50 is one
    verdict = judge(Probation(starts=1, good=1, bad=2), RULES)
    assert verdict is not None
    assert verdict.reason is Reason.TOO_MANY_ERRORS


def test_slow_predictions_revert_a_bundle() -> None:
    probation = Probation(starts=1, slow_us=100)
    for latency in [101] * 26 + [100] * 24:
        probation = probation.observed(ok=True, latency_us=latency)
    verdict = judge(probation, RULES)
    assert verdict is not None
    assert verdict.reason is Reason.TOO_SLOW_INFERENCE
    assert judge(Probation(starts=1, good=50, slow=25), RULES) == Verdict(None)


def test_without_a_limit_nothing_is_slow() -> None:
    assert Probation().observed(ok=True, latency_us=10**9).slow == 0

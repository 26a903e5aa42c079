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


def weighed(probation: Probation, *kib: int) -> Probation:
    for one in kib:
        probation = probation.weighed(one)
    return probation


def test_an_agent_that_grows_ends_a_trial() -> None:
    probation = weighed(Probation(starts=1, good=1, growth_kib=1000), 50_000, 51_000, 51_001, 60_000)
    assert judge(probation, RULES) is None
    verdict = judge(probation.weighed(60_000), RULES)
    assert verdict is not None
    assert verdict.reason is Reason.TOO_MUCH_MEMORY


def test_memory_that_is_given_back_was_only_busy() -> None:
    probation = weighed(Probation(starts=1, good=50, growth_kib=1000), 50_000, 60_000, 60_000, 50_500, 60_000)
    assert judge(probation, RULES) == Verdict(None)


def test_what_is_loaded_before_the_first_prediction_is_no_growth() -> None:
    loading = weighed(Probation(starts=1, growth_kib=1000), 10_000, 20_000, 90_000)
    assert weighed(loading.observed(ok=True, latency_us=1), 90_000, 90_500, 90_900).heavy == 0


def test_a_restart_weighs_anew() -> None:
    heavy = weighed(Probation(starts=1, good=1, growth_kib=1000), 50_000, 60_000, 60_000)
    assert weighed(heavy.started(), 60_000, 60_000, 60_000).heavy == 0


def test_a_trial_is_not_over_before_it_was_weighed() -> None:
    probation = Probation(starts=1, good=50, growth_kib=1000)
    assert judge(probation, RULES) is None
    assert judge(weighed(probation, 1, 1, 1, 1), RULES) == Verdict(None)

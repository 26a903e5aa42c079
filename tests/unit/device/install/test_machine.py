from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.install.machine import TABLE, Effect, Event, step

PRE_TRIAL = {Phase.FETCHING, Phase.STAGED, Phase.CHECKED}


def test_the_way_of_a_good_release() -> None:
    phase = Phase.IDLE
    for event in (Event.OFFERED, Event.FETCHED, Event.CHECK_PASSED, Event.STARTED, Event.PROVEN):
        phase, _ = step(phase, event)
    assert phase is Phase.CONFIRMED


@pytest.mark.parametrize(("phase", "event"), [pair for pair in product(Phase, Event) if pair not in TABLE])
def test_what_is_not_in_the_table_raises(phase: Phase, event: Event) -> None:
    with pytest.raises(AssertionError, match="cannot happen"):
        step(phase, event)


def test_refused_is_reached_only_before_a_trial() -> None:
    assert {
        phase for (phase, event), (after, _) in TABLE.items() if after is Phase.REFUSED and phase is not after
    } == PRE_TRIAL


def test_every_phase_can_be_cancelled() -> None:
    assert {phase for phase, event in TABLE if event is Event.CANCELLED} == set(Phase)


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_no_order_of_events_runs_or_keeps_an_unchecked_bundle(events: list[Event]) -> None:
    phase, checked, on_trial = Phase.IDLE, False, False
    for event in events:
        if (phase, event) not in TABLE:
            continue
        phase, effects = step(phase, event)
        checked = event is Event.CHECK_PASSED or (checked and event is not Event.OFFERED)
        if Effect.FLIP in effects:
            assert checked
            on_trial = True
        if Effect.RAISE_FLOOR in effects:
            assert on_trial
        if phase is not Phase.TRIAL and on_trial and phase is not Phase.CONFIRMED:
            assert Effect.SWAP_BACK in effects  # leaving a trial unproven always goes back
        on_trial = on_trial and phase is Phase.TRIAL

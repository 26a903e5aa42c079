"""The rollout's machine: the rules of its docstring one by one, then any order of events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprat.errors import Refused
from sprat.hub.rollouts.cohort import Fit, Misfit
from sprat.hub.rollouts.gates import Signals
from sprat.hub.rollouts.machine import (
    Abort,
    Effect,
    Event,
    OfferTo,
    Pause,
    Resume,
    Start,
    Tick,
    Withdraw,
    standing,
    step,
)
from sprat.hub.rollouts.members import View
from sprat.hub.store.rollout_values import Cohort, Gates, MemberStatus, OnFailure, Rollout, Spec, Wave
from sprat_device.contract.ids import Channel, ModelName
from sprat_device.contract.phases import InstallPhase, Reason, RolloutPhase

NEW, OLD = "bb" * 32, "aa" * 32
FIT = Fit("pi-4", NEW)
S = 1_000_000
DEADLINE_S = 100
DEVICES = ("d1", "d2", "d3", "d4")
SPEC = Spec(
    ModelName("digits"), 2, Channel("canary"), Cohort(everyone=True),
    waves=(Wave(count=1), Wave(percent=100)), gates=Gates(healthy_predictions=10, max_failed_share=0.0),
    deadline_s=DEADLINE_S,
)  # fmt: skip


def draft(**changes: object) -> Rollout:
    return Rollout("r1", replace(SPEC, **changes), created_us=0)  # type: ignore[arg-type]


def started(**changes: object) -> Rollout:
    waves = {"d1": 0, "d2": 1, "d3": 1, "d4": 1}
    return step(draft(**changes), Start(waves), 1)[0]


def idle(seen_us: int = 1) -> View:
    return View(FIT, seen_us, running=OLD)


def done(seen_us: int = 1, healthy: int = 10) -> View:
    return View(FIT, seen_us, running=NEW, healthy={NEW: healthy})


def refused(reason: str = "signature") -> View:
    return View(FIT, 1, OLD, InstallPhase.REFUSED, install_bundle=NEW, install_seq=2, rollout="r1", reason=reason)


def views(**known: View) -> dict[str, View]:
    return {device: known.get(device, idle(0)) for device in DEVICES}


def offers(effects: tuple[Effect, ...]) -> set[str]:
    return {effect.device for effect in effects if isinstance(effect, OfferTo)}


def withdrawn(effects: tuple[Effect, ...]) -> set[str]:
    return {effect.device for effect in effects if isinstance(effect, Withdraw)}


def test_only_the_first_wave_is_offered_first() -> None:
    _, effects = step(started(), Tick(views(d1=idle(1), d2=idle(1))), S)
    assert offers(effects) == {"d1"}


def test_a_device_is_done_only_with_the_digest_and_enough_stored_predictions() -> None:
    rollout, _ = step(started(), Tick(views(d1=done(healthy=9))), S)
    assert rollout.members["d1"].status is MemberStatus.OFFERED
    rollout, _ = step(rollout, Tick(views(d1=View(FIT, 1, running=OLD, healthy={NEW: 10}))), 2 * S)
    assert rollout.members["d1"].status is MemberStatus.OFFERED
    rollout, effects = step(rollout, Tick(views(d1=done())), 3 * S)
    assert rollout.members["d1"].status is MemberStatus.DONE
    assert rollout.wave == 1
    assert offers(effects) == {"d2", "d3", "d4"}


@pytest.mark.parametrize("reason", [Reason.OUTSIDE_WINDOW, Reason.DEFERRED])
def test_a_device_that_waits_for_its_hours_is_not_late(reason: Reason) -> None:
    at_night = View(FIT, S, OLD, InstallPhase.CHECKED, NEW, 2, "r1", reason, "opens 02:00")
    rollout, _ = step(started(), Tick(views(d1=at_night)), S)
    assert (rollout.members["d1"].status, rollout.wave) == (MemberStatus.WAITING, 0)
    assert rollout.members["d1"].detail == "waits for its hours: opens 02:00"
    paused, effects = step(rollout, Pause("look"), 2 * S)
    assert withdrawn(effects) == {"d1"}  # its hour must not come while everything else stands still
    resumed, effects = step(paused, Resume(), 3 * S)
    assert offers(effects) == {"d1"}
    trial = replace(at_night, phase=InstallPhase.TRIAL, reason="", seen_us=DEADLINE_S * 3 * S)
    later, _ = step(resumed, Tick(views(d1=trial)), DEADLINE_S * S)
    assert later.members["d1"].status is MemberStatus.OFFERED  # its deadline begins with its trial
    proven, _ = step(later, Tick(views(d1=done())), DEADLINE_S * S + 1)
    assert proven.wave == 1


def test_a_done_device_that_tells_another_digest_flips_back() -> None:
    rollout, _ = step(started(), Tick(views(d1=done())), S)
    rollout, _ = step(rollout, Tick(views(d1=idle(2 * S))), 2 * S)
    assert rollout.members["d1"].status is MemberStatus.OFFERED


@pytest.mark.parametrize(
    ("on_failure", "phase"), [(OnFailure.PAUSE, RolloutPhase.PAUSED), (OnFailure.ABORT, RolloutPhase.ABORTED)]
)
def test_a_refusal_above_the_share_stops_with_its_reason(on_failure: OnFailure, phase: RolloutPhase) -> None:
    rollout, effects = step(started(on_failure=on_failure), Tick(views(d1=refused())), S)
    assert rollout.phase is phase
    assert "failed-share" in rollout.reason
    assert rollout.members["d1"].reason == "signature"
    assert withdrawn(effects) <= {"d1"}
    assert ("d1" in {e.device for e in standing(rollout) if isinstance(e, OfferTo)}) is (phase is RolloutPhase.PAUSED)


def test_a_refusal_of_an_older_rollout_is_none_of_this_one() -> None:
    rollout, _ = step(started(), Tick(views(d1=replace(refused(), rollout="r0"))), S)
    assert rollout.members["d1"].status is MemberStatus.OFFERED


def test_a_device_that_fell_silent_fails_at_the_deadline_and_one_never_seen_waits() -> None:
    rollout = started(gates=Gates(healthy_predictions=10, max_failed_share=0.9))
    rollout, _ = step(rollout, Tick(views(d1=done())), S)
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=idle(2 * S))), 2 * S)
    late = (DEADLINE_S + 3) * S
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=idle(2 * S))), late)
    assert (rollout.members["d2"].status, rollout.members["d2"].reason) == (MemberStatus.FAILED, "deadline")
    assert rollout.members["d3"].status is MemberStatus.WAITING
    assert rollout.phase is RolloutPhase.COMPLETED
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=idle(2 * S), d3=idle(late + S))), late + S)
    assert rollout.members["d3"].status is MemberStatus.OFFERED, "it joins when it returns"
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=done(), d3=done())), late + 2 * S)
    assert rollout.members["d2"].status is MemberStatus.DONE, "being done takes a deadline back"


def test_nothing_passes_without_evidence() -> None:
    rollout, _ = step(started(), Tick(views()), S)
    assert rollout.phase is RolloutPhase.RUNNING
    rollout, _ = step(rollout, Tick(views()), (DEADLINE_S + 1) * S)
    assert rollout.phase is RolloutPhase.PAUSED
    assert rollout.reason.startswith("no-evidence")


def test_a_misfit_is_told_and_stops_nothing() -> None:
    misfit = View(Misfit("wrong-arch", "runs on armv7l"), 1)
    rollout, _ = step(started(), Tick(views(d1=misfit)), S)
    assert rollout.members["d1"].status is MemberStatus.UNFIT
    assert (rollout.phase, rollout.wave) == (RolloutPhase.RUNNING, 1)


def test_errors_above_their_share_stop() -> None:
    rollout, _ = step(started(), Tick(views(d1=done()), Signals(predictions=90, errors=10)), S)
    assert rollout.phase is RolloutPhase.PAUSED
    assert rollout.reason == "error-share 0.1 is above 0.05"


def test_who_resumes_accepts_what_had_stopped_it() -> None:
    rollout, _ = step(started(gates=Gates(healthy_predictions=10)), Tick(views(d1=refused())), S)
    rollout, _ = step(rollout, Tick(views(d1=done())), 2 * S)
    assert rollout.phase is RolloutPhase.PAUSED, "a tick alone never resumes"
    rollout, _ = step(rollout, Resume(), 3 * S)
    rollout, _ = step(rollout, Tick(views(d1=done())), 4 * S)
    assert (rollout.phase, rollout.wave) == (RolloutPhase.RUNNING, 1)
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=refused())), 5 * S)
    rollout, _ = step(rollout, Resume(), 6 * S)
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=refused(), d3=done(), d4=done())), 7 * S)
    assert rollout.phase is RolloutPhase.COMPLETED


def test_an_accepted_failure_stays_accepted_while_the_device_tries_again_by_itself() -> None:
    rollout, _ = step(started(gates=Gates(healthy_predictions=10)), Tick(views(d1=done())), S)
    lacking = refused(Reason.NO_FLASH)
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=lacking)), 2 * S)
    rollout, _ = step(rollout, Resume(), 3 * S)
    for phase in (InstallPhase.FETCHING, InstallPhase.REFUSED, InstallPhase.FETCHING, InstallPhase.REFUSED):
        rollout, _ = step(rollout, Tick(views(d1=done(), d2=replace(lacking, phase=phase))), 4 * S)
        assert rollout.phase is RolloutPhase.RUNNING
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=done())), 5 * S)
    assert not rollout.members["d2"].accepted


def test_a_pause_takes_the_offer_only_from_who_was_not_seen() -> None:
    rollout, _ = step(started(), Tick(views(d1=done())), S)
    rollout, _ = step(rollout, Tick(views(d1=done(), d2=idle(2 * S))), 2 * S)
    rollout, effects = step(rollout, Pause("look first"), 3 * S)
    assert withdrawn(effects) == {"d3", "d4"}
    _, effects = step(rollout, Resume(), 4 * S)
    assert offers(effects) == {"d3", "d4"}


def test_an_abort_takes_the_offer_from_all_that_are_not_done() -> None:
    rollout, _ = step(started(), Tick(views(d1=done())), S)
    _, effects = step(rollout, Abort("no"), 2 * S)
    assert withdrawn(effects) == {"d2", "d3", "d4"}


def test_a_newer_rollout_takes_devices_over() -> None:
    rollout, _ = step(started(), Tick(views(d1=replace(idle(1), superseded=True))), S)
    assert rollout.members["d1"].status is MemberStatus.SUPERSEDED
    assert "d1" not in {effect.device for effect in standing(rollout) if not isinstance(effect, str)}  # type: ignore[union-attr]


def test_newcomers_join_the_last_wave_and_leavers_leave() -> None:
    rollout, _ = step(started(), Tick({**views(), "d9": idle(1)}), S)
    assert rollout.members["d9"].wave == 1
    rollout, _ = step(rollout, Tick({"d9": idle(1)}), 2 * S)
    assert rollout.members["d1"].status is MemberStatus.LEFT


def test_an_event_that_the_phase_does_not_allow_is_refused() -> None:
    with pytest.raises(Refused, match=r"rollout r1 is draft: resume is not possible now"):
        step(draft(), Resume(), 0)
    with pytest.raises(Refused, match="no device belongs to its waves"):
        step(draft(), Start({}), 0)


VIEWS = st.builds(
    View,
    fit=st.sampled_from([FIT, FIT, Misfit("wrong-arch", "x"), Misfit("", "no facts", known=False)]),
    seen_us=st.integers(0, 2000 * S),
    running=st.sampled_from(["", OLD, NEW]),
    phase=st.sampled_from(list(InstallPhase)),
    install_bundle=st.sampled_from([OLD, NEW]),
    install_seq=st.integers(1, 2),
    rollout=st.sampled_from(["", "r0", "r1"]),
    healthy=st.fixed_dictionaries({NEW: st.integers(0, 20)}),
    superseded=st.booleans(),
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Tick,
        st.dictionaries(st.sampled_from((*DEVICES, "d9")), VIEWS),
        st.builds(Signals, predictions=st.integers(0, 100), errors=st.integers(0, 10)),
    ),
    st.just(Start({"d1": 0, "d2": 1, "d3": 1, "d4": 1})),
    st.just(Pause("p")),
    st.just(Resume()),
    st.just(Abort("a")),
)
ENDED = (RolloutPhase.COMPLETED, RolloutPhase.ABORTED)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(EVENTS, st.integers(0, 60 * S)), max_size=25),
    st.sampled_from(list(OnFailure)),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_any_order_of_events_keeps_the_invariants(
    course: list[tuple[Event, int]], on_failure: OnFailure, max_failed_share: float
) -> None:
    rollout = draft(on_failure=on_failure, gates=Gates(healthy_predictions=10, max_failed_share=max_failed_share))
    now, held = 0, set[str]()
    for event, later in [(Start({"d1": 0, "d2": 1, "d3": 1, "d4": 1}), 0), *course]:
        now += later
        before = rollout
        try:
            rollout, effects = step(rollout, event, now)
        except Refused:
            assert rollout == before
            continue
        held = (held | offers(effects)) - withdrawn(effects)
        _check(before, event, rollout, held)


def _check(before: Rollout, event: Event, after: Rollout, held: set[str]) -> None:
    begun = {member.device for member in after.in_waves_so_far()}
    assert held <= begun, "nobody is offered anything before its wave"
    assert after.wave - before.wave in (0, 1)
    assert set(before.members) <= set(after.members)
    assert before.phase not in ENDED or after.phase is before.phase, "an end is an end"
    if before.phase is RolloutPhase.PAUSED and after.phase is RolloutPhase.RUNNING:
        assert isinstance(event, Resume)
    if after.phase is RolloutPhase.ABORTED:
        kept = {
            m.device
            for m in after.members.values()
            if m.status in (MemberStatus.DONE, MemberStatus.LEFT, MemberStatus.SUPERSEDED)
        }
        assert held <= kept
    if isinstance(event, Tick):
        _check_tick(before, event, after)
    # What was done bit by bit is what the state implies: a hub that was killed can catch up.
    implied = {e.device for e in standing(after) if isinstance(e, OfferTo)}
    ours = {m.device for m in after.members.values() if m.status not in (MemberStatus.LEFT, MemberStatus.SUPERSEDED)}
    assert held & ours == implied


def _check_tick(before: Rollout, event: Tick, after: Rollout) -> None:
    for member in after.members.values():
        if member.status is MemberStatus.DONE:
            view = event.views[member.device]
            assert view.running == member.bundle
            assert view.healthy[member.bundle] >= after.spec.gates.healthy_predictions
    if after.wave > before.wave or (after.phase is RolloutPhase.COMPLETED is not before.phase):
        passed = [m for m in after.members.values() if m.wave == before.wave]
        assert all(m.status is not MemberStatus.OFFERED for m in passed)
        assert not [g for g in after.gates if g.crossed and g.name not in after.accepted_gates]

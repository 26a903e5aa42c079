"""Who is addressed, in which wave, by which bundle; the gates' arithmetic; the spec's refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprat.errors import ContractError
from sprat.hub.rollouts import gates
from sprat.hub.rollouts.cohort import Candidate, Fit, Misfit, addressed, assign, fit
from sprat.hub.store.rollout_values import Cohort, Member, MemberStatus, Wave, parse_spec
from sprat_device.contract.ids import ModelName
from sprat_device.contract.release import Release
from sprat_device.contract.sketch import LogHistogram

FACTS = {"arch": "aarch64", "runtimes": {"tflite": "2.14.0"}, "ram_kib": 400_000, "disk_free_kib": 1_000_000}
RELEASE = Release(ModelName("digits"), "pi-4", 2, "sig", {"tflite": "2.14"}, ("aarch64",), 60_000, 100)
SPEC = {"model": "digits", "release_seq": 2, "channel": "canary", "cohort": {"all": True}}


def test_named_labelled_and_all() -> None:
    assert addressed(Cohort(devices=("d1",)), "d1", {})
    assert not addressed(Cohort(devices=("d1",)), "d2", {})
    assert addressed(Cohort(labels={"site": "a"}), "d2", {"site": "a", "x": "y"})
    assert not addressed(Cohort(labels={"site": "a", "x": "z"}), "d2", {"site": "a"})


def test_percentages_are_cumulative_and_a_first_wave_is_never_empty() -> None:
    devices = [f"d{i}" for i in range(25)]
    placed = assign((Wave(percent=1), Wave(percent=50), Wave(percent=100)), devices, salt="r")
    assert [list(placed.values()).count(i) for i in range(3)] == [1, 12, 12]


def test_named_devices_go_first_and_whom_no_wave_reaches_is_left_out() -> None:
    placed = assign((Wave(devices=("d9", "gone")), Wave(count=2)), [f"d{i}" for i in range(10)], salt="r")
    assert placed["d9"] == 0
    assert sorted(placed.values()) == [0, 1, 1]


@given(
    st.sets(st.text("abc123", min_size=1, max_size=6), max_size=40),
    st.lists(st.integers(1, 100), min_size=1, max_size=4),
)
def test_every_order_of_devices_gives_the_same_waves(devices: set[str], shares: list[int]) -> None:
    waves = tuple(Wave(percent=share) for share in sorted(shares))
    placed = assign(waves, sorted(devices), salt="r")
    assert placed == assign(waves, sorted(devices, reverse=True), salt="r")
    assert placed.keys() <= devices
    assert len(placed) == -(-len(devices) * max(shares) // 100)


def test_the_bundle_that_fits_with_the_least_ram() -> None:
    bigger = replace(RELEASE, target="generic-aarch64", ram_peak_kib=90_000)
    assert fit(FACTS, {}, [Candidate(bigger, "b"), Candidate(RELEASE, "a")]) == Fit("pi-4", "a")
    assert fit(FACTS, {"target": "generic-aarch64"}, [Candidate(bigger, "b"), Candidate(RELEASE, "a")]) == Fit(
        "generic-aarch64", "b"
    )


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"arch": "armv7l"}, "wrong-arch", "pi-4 runs on aarch64, the device is armv7l"),
        ({"runtimes": {"tflite": "2.9.1"}}, "wrong-runtime", "pi-4 needs tflite >= 2.14, the device has tflite 2.9.1"),
        ({"runtimes": {}}, "wrong-runtime", "the device has none"),
        ({"ram_kib": 10}, "no-ram", "pi-4 needs 60000 KiB of RAM, the device has 10"),
        ({"disk_free_kib": 99}, "no-flash", "needs 100 KiB of free disk"),
    ],
)
def test_a_misfit_says_what_lacks(change: dict[str, object], reason: str, says: str) -> None:
    found = fit({**FACTS, **change}, {}, [Candidate(RELEASE, "a")])
    assert isinstance(found, Misfit)
    assert (found.reason, found.known) == (reason, True)
    assert says in found.detail


def test_without_facts_nobody_knows() -> None:
    found = fit({}, {}, [Candidate(RELEASE, "a")])
    assert isinstance(found, Misfit)
    assert not found.known


def test_gates_measure_only_with_enough() -> None:
    few = gates.Signals(predictions=10, errors=5)
    assert gates.error_share(few) is None
    assert gates.error_share(gates.Signals(predictions=75, errors=25)) == 0.25
    assert gates.p95_ratio(few) is None
    slow, quick = LogHistogram(), LogHistogram()
    slow.add(2000, 100)
    quick.add(1000, 100)
    assert gates.p95_ratio(gates.Signals(latency=slow, latency_before=quick)) == pytest.approx(2, rel=0.11)


def test_accepted_failures_leave_the_share() -> None:
    failed = Member("d1", 0, MemberStatus.FAILED)
    done = Member("d2", 0, MemberStatus.DONE)
    assert gates.failed_share([failed, done, Member("d3", 0, MemberStatus.WAITING)]) == 0.5
    assert gates.failed_share([replace(failed, accepted=True), done]) == 0
    assert gates.failed_share([]) is None


def test_a_spec_survives_a_write_and_a_read() -> None:
    raw = {
        **SPEC, "cohort": {"labels": {"site": "a"}}, "waves": [{"count": 1}, {"percent": 50}, {"devices": ["d1"]}],
        "gates": {"healthy_predictions": 3, "max_p95_ratio": 1.5}, "deadline_s": 60, "on_failure": "abort",
    }  # fmt: skip
    spec = parse_spec(raw)
    assert parse_spec(json.loads(json.dumps(spec.dump()))) == spec


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"wave": []}, "rollout: unknown key 'wave'"),
        ({"cohort": {}}, "expected exactly one of devices, labels, all"),
        ({"waves": []}, "expected at least one"),
        ({"waves": [{"percent": 50}, {"percent": 10}]}, "cumulative and rising"),
        ({"waves": [{"percent": 101}]}, r"waves\[0\]: expected exactly one of percent"),
        ({"waves": [{"percent": 5, "count": 1}]}, "expected exactly one of percent"),
        ({"gates": {"max_error_share": 2}}, "gates.max_error_share: found 2.0, expected a share from 0 to 1"),
        ({"on_failure": "panic"}, "rollout.on_failure"),
        ({"release_seq": 0}, "release_seq"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ContractError, match=says):
        parse_spec({**SPEC, **change})

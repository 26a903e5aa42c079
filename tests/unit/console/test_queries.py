"""Read models: rules of health, the list's address, ledgers, drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.console.conftest import Lab

from sprat.hub.console import render
from sprat.hub.queries.arrivals import MIN_COUNT_PER_BIN, drift_map
from sprat.hub.queries.board import DeviceRow
from sprat.hub.queries.device import lane_lines, twin_lines
from sprat.hub.queries.devices import DeviceQuery
from sprat.hub.queries.health import Health, findings, health_of
from sprat.hub.queries.sentences import sentence
from sprat.hub.queries.signals import Signals
from sprat.hub.store.fleet_twins import ReportedTwin
from sprat.hub.store.rows import Device
from sprat.hub.store.telemetry_values import HOUR_US, DriftRow, LedgerRow
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName
from sprat_device.contract.phases import InstallPhase, Lane, Reason
from sprat_device.contract.sketch import psi
from sprat_device.contract.twin import (
    Desired,
    Installed,
    InstallReport,
    LaneReport,
    ModelReport,
    Offer,
    Reported,
)

ONLINE = Device(DeviceId("d1"), Channel("canary"), (ModelName("digits"),), {}, 5, online=True, presence_us=10)
OLD, NEW = Digest("aa" * 32), Digest("bb" * 32)
RUNS = ModelReport(Installed(OLD, 2), None, InstallReport(InstallPhase.CONFIRMED, 2), OLD)
BALANCED = LaneReport("07", 10, 7, 2, 1, 0, 0)


def told(model: ModelReport = RUNS, ledger: Mapping[str, LaneReport] | None = None, **other: object) -> ReportedTwin:
    return ReportedTwin(Reported(1, models={"digits": model}, ledger=ledger or {}, **other), 20)  # type: ignore[arg-type]


REFUSED = replace(RUNS, install=InstallReport(InstallPhase.REFUSED, 3, NEW, "", Reason.SIGNATURE, "no"))
REVERTED = replace(RUNS, install=InstallReport(InstallPhase.REVERTED, 3, NEW, "", Reason.NON_FINITE))


@pytest.mark.parametrize(
    ("device", "twin", "signals", "health", "code"),
    [
        (ONLINE, told(), Signals(), Health.HEALTHY, ""),
        (replace(ONLINE, online=False), told(), Signals(), Health.SILENT, "silent"),
        (replace(ONLINE, online=False, presence_us=0), None, Signals(), Health.WAITING, "not-seen"),
        (ONLINE, told(REFUSED), Signals(), Health.DEGRADED, "signature"),
        (ONLINE, told(REVERTED), Signals(), Health.DEGRADED, "non-finite"),
        (ONLINE, told(replace(RUNS, running="")), Signals(), Health.DEGRADED, "no-session"),
        (ONLINE, told(ledger={"events": BALANCED}), Signals(), Health.HEALTHY, ""),
        (ONLINE, told(ledger={"events": replace(BALANCED, produced=11)}), Signals(), Health.DEGRADED, "ledger"),
        (ONLINE, told(ledger={"events": replace(BALANCED, acked=6, damaged=1)}), Signals(), Health.DEGRADED, "damaged"),
        (ONLINE, told(), Signals(predictions=95, errors=5), Health.HEALTHY, ""),
        (ONLINE, told(), Signals(predictions=94, errors=6), Health.DEGRADED, "errors"),
        (ONLINE, told(), Signals(temperature_c=80.0), Health.DEGRADED, "hot"),
        (ONLINE, told(), Signals(power="undervoltage,throttled"), Health.DEGRADED, "power"),
        (ONLINE, told(), Signals(drift=0.19), Health.HEALTHY, ""),
        (ONLINE, told(), Signals(drift=0.2, drift_feature="x"), Health.DRIFTING, "drift"),
    ],
)
def test_health_and_its_reason(
    device: Device, twin: ReportedTwin | None, signals: Signals, health: Health, code: str
) -> None:
    found = findings(device, twin, signals)
    assert health_of(found) is health
    assert [finding.code for finding in found] == ([code] if code else [])


def test_the_worst_finding_stands_first() -> None:
    found = findings(replace(ONLINE, online=False), told(REFUSED), Signals(drift=0.9))
    assert [finding.code for finding in found] == ["silent", "signature", "drift"]


def test_every_reason_code_has_its_own_sentence() -> None:
    sentences = {sentence(reason) for reason in Reason}
    assert len(sentences) == len(Reason)
    assert "does not know" not in " ".join(sentences)
    assert "does not know" in sentence("from-the-future")


def test_an_address_reads_back_what_it_says() -> None:
    query = DeviceQuery(q="lyon 03", state="degraded", release="digits 3", sort="-p95", page=2)
    raw = dict(pair.split("=") for pair in query.address(page=2).split("?")[1].split("&"))
    decoded = {key: value.replace("+", " ") for key, value in raw.items()}
    assert DeviceQuery.parse(decoded) == query
    assert query.address(q="").count("page") == 0
    assert DeviceQuery().address() == "/devices"


@pytest.mark.parametrize("raw", [{"page": "-1"}, {"page": "²"}, {"sort": "--p95"}, {"state": "x"}, {"page": "1e9"}])
def test_what_an_address_cannot_mean_is_left_out(raw: dict[str, str]) -> None:
    assert DeviceQuery.parse(raw) == DeviceQuery()


def row(twin: ReportedTwin | None, desired: Desired | None = None) -> DeviceRow:
    return DeviceRow(ONLINE, twin, desired, Signals(), ())


def test_the_twin_differs_until_the_device_tells_what_is_wanted() -> None:
    desired = Desired("inc", 4, {"digits": Offer("r", Channel("canary"), 3, "generic", NEW)})
    behind = twin_lines(row(told(applied_incarnation="inc", applied_version=3), desired))
    assert [(line.what, line.same) for line in behind] == [("twin", False), ("digits", False), ("channel", True)]
    runs_new = replace(RUNS, active=Installed(NEW, 3), running=NEW)
    done = twin_lines(row(told(runs_new, applied_incarnation="inc", applied_version=4), desired))
    assert all(line.same for line in done)
    other_store = twin_lines(row(told(runs_new, applied_incarnation="old", applied_version=4), desired))
    assert not other_store[0].same
    refuses = twin_lines(row(told(refused={"inputs": "remote.inputs is off"}), desired))
    assert [(line.told, line.same) for line in refuses if line.what == "inputs"] == [
        ("refused: remote.inputs is off", False)
    ]


def held(**changes: object) -> LedgerRow:
    base = LedgerRow(
        device="d1", epoch="07", lane=Lane.EVENTS, produced=10, stored=7, quarantined=0, evicted=0, damaged=0,
        conflicts=0, duplicates=0, frames=3, last_seq=2, updated_us=1,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("report", "stored", "balanced", "lost"),
    [
        (BALANCED, held(), True, 0),
        (BALANCED, held(stored=9), True, 0),  # the ack of two is on its way
        (BALANCED, held(stored=6), False, 1),  # the device believes it safe, it is not here
        (BALANCED, held(stored=6, quarantined=1), True, 0),
        (replace(BALANCED, produced=12), held(), False, 0),
        (BALANCED, None, False, 7),
    ],
)
def test_a_lane_balances_by_both_words(report: LaneReport, stored: LedgerRow | None, balanced: bool, lost: int) -> None:
    (line,) = lane_lines(row(told(ledger={"events": report})), (stored,) if stored else ())
    assert (line.balanced, line.lost) == (balanced, lost)
    elsewhere = line.waiting + line.evicted + line.damaged + line.quarantined + line.lost
    assert line.produced == line.stored + elsewhere  # what the page shows adds up, whichever word is newer


def test_an_older_epoch_stands_below_and_by_the_hubs_word_alone() -> None:
    lines = lane_lines(row(told(ledger={"events": BALANCED})), (held(), held(epoch="01", produced=9, stored=7)))
    assert [(line.epoch, line.balanced) for line in lines] == [("07", True), ("01", False)]


def test_drift_is_told_only_where_there_is_enough_of_it() -> None:
    reference = np.array([100, 100, 100], np.int64)
    enough, few = (300, 10, 10), (1, 1, MIN_COUNT_PER_BIN * 3 - 3)
    rows = [DriftRow(0, OLD, "calm", (90, 100, 110)), DriftRow(0, OLD, "moved", enough), DriftRow(0, OLD, "few", few)]
    found = drift_map(OLD, rows, dict.fromkeys(("calm", "moved", "few"), reference), last_us=0, hours=2)
    assert [feature for feature, _ in found.rows] == ["moved", "calm"]
    assert found.slots_us == (-HOUR_US, 0)
    (moved, calm) = (values[1] for _, values in found.rows)
    assert moved is not None
    assert calm is not None
    assert moved > 0.2 > calm


def test_a_shift_that_chance_gives_with_few_training_rows_is_none() -> None:
    # 40 training rows in ten bins: two samples of one distribution differ by more than the usual limit of 0.2.
    reference = np.array([8, 1, 5, 2, 6, 3, 4, 4, 1, 6], np.int64)
    row = DriftRow(0, OLD, "a", (30,) * 10)
    assert psi(reference, np.array(row.counts)) > 0.2
    assert drift_map(OLD, [row], {"a": reference}, last_us=0, hours=1).rows == (("a", (0.0,)),)
    many = drift_map(OLD, [row], {"a": reference * 1000}, last_us=0, hours=1)
    assert many.rows[0][1][0] == pytest.approx(psi(reference * 1000, np.array(row.counts)))


def test_trouble_is_as_old_as_it_was_first_noticed(lab: Lab) -> None:
    client = lab.signed_in()
    lab.fleet.report("pi-20", install=InstallReport(InstallPhase.REFUSED, 3, "", "", Reason.SIGNATURE))
    client.get("/")
    lab.clock.forward(130)
    lab.fleet.report("pi-20", install=InstallReport(InstallPhase.REFUSED, 3, "", "", Reason.SIGNATURE))
    html = client.get("/devices/pi-20").text
    assert ">2 min</time>" in html.split('id="device-findings"')[1].split("</p>")[0]


def test_numbers_read_the_same_everywhere() -> None:
    assert render.number(10_000) == "10\N{THIN SPACE}000"
    assert [render.duration(us) for us in (3.4, 950.0, 1500.0, 2.5e6, None)] == [
        "3.4 µs", "950 µs", "1.5 ms", "2.5 s", "\N{EN DASH}",
    ]  # fmt: skip
    assert [render.share(part, 10_000) for part in (0, 1, 9_999, 10_000)] == ["0 %", "< 0.1 %", "> 99.9 %", "100 %"]
    assert [render.size(value) for value in (512, 15_800, 5 * 2**20)] == ["512 B", "15.4 KiB", "5.0 MiB"]
    assert [render.age_text(s) for s in (-1, 59, 60, 7200, 172_800)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]

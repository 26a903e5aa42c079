"""The dispatcher over real stores: what people ask for, what ticks do to desired twins, and a hub that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sprat.errors import Refused, SpratError
from sprat.hub.fleet.twins import Twins
from sprat.hub.rollouts.dispatch import Dispatcher
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rollout_values import Cohort, Gates, MemberStatus, Spec, Wave, parse_spec
from sprat.hub.store.rollouts import RolloutStore
from sprat.hub.store.rows import Device, PublishedRelease
from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_commit import TelemetryWriter
from sprat.hub.store.telemetry_values import MINUTE_US, Anchor, NewFrame, Rollup, Timing
from sprat_device.contract.frame import FrameHeader, Ledger, seal
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName
from sprat_device.contract.phases import ClockState, InstallPhase, Lane, RolloutPhase
from sprat_device.contract.release import Release
from sprat_device.contract.twin import Installed, InstallReport, ModelReport, Reported

DIGITS, CANARY = ModelName("digits"), Channel("canary")
NEW = Digest("bb" * 32)
FACTS = {"arch": "x86_64", "runtimes": {"litert": "2.3.0"}, "ram_kib": 500_000, "disk_free_kib": 500_000}
SIGNED = Release(DIGITS, "generic-x86_64", 2, "sig", {"litert": "2.0"}, ("x86_64",), 60_000, 100)
SPEC = Spec(
    DIGITS, 2, CANARY, Cohort(everyone=True), waves=(Wave(devices=("d1",)), Wave(percent=100)),
    gates=Gates(healthy_predictions=10), deadline_s=100,
)  # fmt: skip


class Hub:
    """Real stores in a folder, and a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.now_us = 1_790_000_000_000_000
        self.fleet = FleetStore(folder / "fleet.db")
        self.telemetry = TelemetryStore(folder / "telemetry.db")
        self.writer = TelemetryWriter(self.telemetry)
        self.rollouts = RolloutStore(self.fleet)
        self.twins = Twins(self.fleet, lambda *_args, **_named: True, lambda: self.now_us)
        self.dispatcher = self.fresh()
        self._seq = 0

    def fresh(self) -> Dispatcher:
        return Dispatcher(self.fleet, self.rollouts, self.telemetry, self.twins, lambda: self.now_us)

    def join(self, name: str, *, channel: Channel = CANARY) -> None:
        self.fleet.devices.add(Device(DeviceId(name), channel, (DIGITS,), {}, self.now_us, facts=FACTS))

    def publish(self) -> None:
        self.fleet.releases.add(
            PublishedRelease(CANARY, DIGITS, 2, SIGNED.target, NEW, 100, SIGNED.dump(), {}, {}, self.now_us, "me")
        )

    def says(self, name: str, *, running: str = "", install: InstallReport | None = None) -> None:
        active = Installed(Digest(running), 2) if running else None
        report = ModelReport(active=active, install=install or InstallReport(), running=running)
        self.fleet.reported.put(DeviceId(name), Reported(1, facts=FACTS, models={DIGITS: report}), self.now_us)
        self.fleet.devices.presence(DeviceId(name), online=True, boot_id="", now_us=self.now_us)

    def predicts(self, name: str, count: int, *, errors: int = 0, minutes_ago: int = 0) -> None:
        self._seq += 1
        header = FrameHeader(
            Lane.PREDICTIONS, 1, self._seq, count, bytes(16), 0, 1, 0, 1, ClockState.SYNCHRONISED, Ledger(count)
        )
        begun_us = (self.now_us // MINUTE_US - minutes_ago) * MINUTE_US
        minute = Rollup(NEW, DIGITS, begun_us, Lane.PREDICTIONS, 2, predictions=count, errors=errors)
        anchor = Anchor(0, Timing.SYNCHRONISED)
        raw = seal(header, b"-")
        self.writer.commit([NewFrame(name, header, raw, self.now_us, anchor, DIGITS, NEW, rollups=(minute,))])

    def clear_minutes(self) -> None:
        with self.telemetry.transaction() as db:
            db.execute("DELETE FROM rollups")

    def offered(self, name: str) -> str:
        desired = self.fleet.desired.get(DeviceId(name))
        offer = desired.offers.get(DIGITS) if desired else None
        return offer.rollout if offer else ""

    def tick(self) -> None:
        self.now_us += 1_000_000
        self.dispatcher.tick()

    def close(self) -> None:
        self.fleet.close()
        self.telemetry.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    for name in ("d1", "d2"):
        hub.join(name)
    hub.publish()
    yield hub
    hub.close()


def test_a_release_that_is_not_listed_gets_no_rollout(hub: Hub) -> None:
    hub.fleet.releases.withdraw(CANARY, DIGITS, 2, SIGNED.target, hub.now_us)
    with pytest.raises(Refused, match="not-listed: release 2 of digits is not listed in canary"):
        hub.dispatcher.create(SPEC, "me")


@pytest.mark.parametrize("urgent", [True, False])
def test_an_urgent_rollout_makes_urgent_offers(hub: Hub, urgent: bool) -> None:
    spec = replace(SPEC, urgent=urgent)
    assert parse_spec(spec.dump()) == spec
    hub.dispatcher.start(hub.dispatcher.create(spec, "me").id, "me")
    hub.says("d1")
    hub.tick()
    desired = hub.fleet.desired.get(DeviceId("d1"))
    assert desired is not None
    assert desired.offers[DIGITS].urgent is urgent


def test_wave_after_wave_to_the_end(hub: Hub) -> None:
    rollout = hub.dispatcher.start(hub.dispatcher.create(SPEC, "me").id, "me").id
    hub.says("d1")
    hub.says("d2")
    hub.tick()
    assert (hub.offered("d1"), hub.offered("d2")) == (rollout, "")
    hub.says("d1", running=NEW)
    hub.tick()
    assert hub.offered("d2") == "", "reporting the digest alone is not enough"
    hub.predicts("d1", 10)
    hub.tick()
    assert hub.offered("d2") == rollout
    hub.says("d2", running=NEW)
    hub.predicts("d2", 10)
    hub.tick()
    found = hub.rollouts.get(rollout)
    assert found is not None
    assert found.phase is RolloutPhase.COMPLETED
    assert [entry.code for entry in hub.rollouts.log(rollout)] == ["created", "started", "wave-passed", "completed"]


ALL = Spec(DIGITS, 2, CANARY, Cohort(devices=("d1",)), gates=Gates(healthy_predictions=10))


def test_what_a_device_did_with_the_same_bytes_before_proves_nothing_now(hub: Hub) -> None:
    hub.says("d1", running=NEW)
    hub.predicts("d1", 500)
    hub.now_us += 60_000_000
    rollout = hub.dispatcher.start(hub.dispatcher.create(ALL, "me").id, "me").id

    def status() -> MemberStatus:
        found = hub.rollouts.get(rollout)
        assert found is not None
        return found.members["d1"].status

    hub.tick()
    assert status() is MemberStatus.OFFERED
    hub.predicts("d1", 500, minutes_ago=30)  # a backlog of the time before
    hub.tick()
    assert status() is MemberStatus.OFFERED
    hub.now_us += 120_000_000
    hub.predicts("d1", 9)
    hub.tick()
    assert status() is MemberStatus.OFFERED
    hub.predicts("d1", 1)
    hub.tick()
    assert status() is MemberStatus.DONE
    hub.clear_minutes()
    hub.tick()
    assert status() is MemberStatus.DONE, "what is done stays so as old minutes are cleared away"


def test_errors_with_the_same_bytes_before_stop_nothing_now(hub: Hub) -> None:
    hub.says("d1", running=NEW)
    rollout = hub.dispatcher.start(hub.dispatcher.create(SPEC, "me").id, "me").id  # d2 comes in its second wave
    hub.says("d2", running=NEW)
    hub.predicts("d2", 50, errors=50)
    hub.predicts("d1", 10)
    hub.now_us += 60_000_000
    hub.tick()
    hub.tick()
    found = hub.rollouts.get(rollout)
    assert found is not None
    assert (found.phase, found.wave) == (RolloutPhase.RUNNING, 1)
    hub.now_us += 60_000_000
    hub.predicts("d2", 50, errors=50)
    hub.tick()
    found = hub.rollouts.get(rollout)
    assert found is not None
    assert (found.phase, found.reason) == (RolloutPhase.PAUSED, "error-share 0.4545 is above 0.05")


def test_a_rollout_of_an_earlier_hub_keeps_what_it_has_counted(hub: Hub) -> None:
    rollout = hub.dispatcher.start(hub.dispatcher.create(ALL, "me").id, "me").id
    hub.says("d1", running=NEW)
    hub.tick()
    with hub.fleet.transaction() as db:
        for column in ("offered_us", "before"):
            db.execute(f"ALTER TABLE rollout_members DROP COLUMN {column}")
        db.execute("UPDATE schema_versions SET version = 1 WHERE name = 'rollouts'")
    RolloutStore(hub.fleet)
    hub.predicts("d1", 10)
    hub.tick()
    found = hub.rollouts.get(rollout)
    assert found is not None
    assert (found.members["d1"].status, found.members["d1"].before) == (MemberStatus.DONE, 0)


def test_a_refusal_aborts_and_takes_offers_back(hub: Hub) -> None:
    spec = Spec(
        DIGITS, 2, CANARY, Cohort(everyone=True), gates=Gates(healthy_predictions=10), on_failure=SPEC.on_failure.ABORT
    )
    rollout = hub.dispatcher.start(hub.dispatcher.create(spec, "me").id, "me").id
    refusal = InstallReport(InstallPhase.REFUSED, 2, NEW, rollout, "hash-mismatch", "sha256 differs")
    hub.says("d1", install=refusal)
    hub.tick()
    found = hub.rollouts.get(rollout)
    assert found is not None
    assert (found.phase, found.members["d1"].reason) == (RolloutPhase.ABORTED, "hash-mismatch")
    assert (hub.offered("d1"), hub.offered("d2")) == ("", "")
    assert hub.dispatcher.tick() == 0


def test_a_hub_killed_before_it_acted_catches_up(hub: Hub) -> None:
    draft = hub.dispatcher.create(SPEC, "me")

    class Dead:
        def offer(self, *_: object) -> object:
            raise SpratError("killed here")

    dying = Dispatcher(hub.fleet, hub.rollouts, hub.telemetry, Dead(), lambda: hub.now_us)
    dying.start(draft.id, "me")
    assert hub.offered("d1") == ""
    hub.fresh().replay()
    assert hub.offered("d1") == draft.id


def test_the_newest_rollout_has_the_device(hub: Hub) -> None:
    old = hub.dispatcher.start(hub.dispatcher.create(SPEC, "me").id, "me").id
    hub.now_us += 1
    new = hub.dispatcher.start(hub.dispatcher.create(SPEC, "me").id, "me").id
    for _ in range(3):
        hub.says("d1")
        hub.tick()
        assert hub.offered("d1") == new
    found = hub.rollouts.get(old)
    assert found is not None
    assert found.members["d1"].status is MemberStatus.SUPERSEDED
    hub.dispatcher.abort(new, "me")
    hub.tick()
    assert hub.offered("d1") == old, "who aborts the newer one gives the device back"


def test_a_plan_says_who_fits_before_anything_happens(hub: Hub) -> None:
    hub.join("d3", channel=Channel("stable"))
    spec = Spec(DIGITS, 2, CANARY, Cohort(devices=("d1", "d3")))
    told = {planned.device: planned.fit for planned in hub.dispatcher.plan(spec)}
    assert getattr(told["d1"], "bundle", "") == NEW
    assert getattr(told["d3"], "reason", "") == "not-pinned"
    assert hub.rollouts.all() == ()


def test_a_revoked_device_leaves(hub: Hub) -> None:
    rollout = hub.dispatcher.start(hub.dispatcher.create(SPEC, "me").id, "me").id
    hub.fleet.devices.revoke(DeviceId("d2"), hub.now_us)
    hub.tick()
    found = hub.rollouts.get(rollout)
    assert found is not None
    assert found.members["d2"].status is MemberStatus.LEFT


def test_an_unknown_rollout_is_named(hub: Hub) -> None:
    with pytest.raises(Refused, match="unknown-rollout"):
        hub.dispatcher.pause("nope", "me")

"""A fleet of forty devices in real stores, filled through the functions that the hub uses, for looking at the console."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from fastapi import FastAPI

from sprat.hub import http
from sprat.hub.console import console_router
from sprat.hub.fleet import twin
from sprat.hub.fleet.logins import People
from sprat.hub.folder import HubFolder
from sprat.hub.rollouts.dispatch import Dispatcher
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rollout_values import Cohort, Gates, GateValue, LogEntry, Member, MemberStatus, Rollout, Spec, Wave
from sprat.hub.store.rollouts import RolloutStore
from sprat.hub.store.rows import Device, PublishedRelease, Role
from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore
from sprat.hub.store.telemetry_commit import TelemetryWriter
from sprat.hub.store.telemetry_values import NewFrame, Spoiled
from sprat.hub.telemetry import intake
from sprat.publish.bundle import write_bundle
from sprat_device.contract import frame, records, summary
from sprat_device.contract.bundle import Baseline, GoldenSet
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName
from sprat_device.contract.manifest import Artifact, Format, Golden, Manifest, Task, TensorSpec, Tolerance
from sprat_device.contract.phases import ClockState, InstallPhase, Lane, Reason, RolloutPhase
from sprat_device.contract.twin import Installed, InstallReport, LaneReport, ModelReport, Offer, Reported

PASSWORD = "correct horse battery"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
MODEL = ModelName("digits")
FEATURES = tuple(f"row {index}" for index in range(8))
EDGES = np.arange(1.0, 10.0)
REFERENCE = np.array([300, 420, 600, 820, 1000, 1000, 820, 600, 420, 300], np.int64)
MINUTE_US = 60_000_000
SITES = ("oslo", "berlin", "turin", "lyon", "ghent")


@dataclass(frozen=True)
class Parts:
    """What `console_router` takes."""

    folder: HubFolder
    store: FleetStore
    telemetry: TelemetryStore
    rollouts: RolloutStore
    dispatcher: Dispatcher
    people: People
    now_us: Callable[[], int]


@dataclass
class NoBroker:
    """Twins without a broker: the offers stay in the store."""

    store: FleetStore
    now_us: Callable[[], int]

    def offer(self, device: DeviceId, model: str, offer: Offer | None) -> None:
        before = self.store.desired.get(device) or twin.first("lab")
        after = twin.with_offer(before, model, offer)
        if after != before:
            self.store.desired.put(device, after, self.now_us())


@dataclass
class LabFleet:
    """The stores, a writer for more frames, and the releases."""

    parts: Parts
    writer: TelemetryWriter
    bundles: Mapping[int, Digest]
    seqs: dict[tuple[str, Lane], int] = field(default_factory=dict)
    produced: dict[tuple[str, Lane], int] = field(default_factory=dict)

    def frames(self, device: str, lane: Lane, body: bytes, count: int, at_us: int) -> NewFrame | Spoiled:
        """Read one frame as ingest does."""
        key = (device, lane)
        self.seqs[key] = self.seqs.get(key, -1) + 1
        self.produced[key] = self.produced.get(key, 0) + count
        header = frame.FrameHeader(
            lane=lane, epoch=epoch_of(device), seq=self.seqs[key], count=count, boot_id=bytes(16),
            mono_first_us=at_us - 1_000_000, mono_last_us=at_us, wall_first_us=at_us - 1_000_000, wall_last_us=at_us,
            clock=ClockState.SYNCHRONISED, ledger=frame.Ledger(produced=self.produced[key]),
        )  # fmt: skip
        return intake.read(device, frame.seal(header, body), at_us, self.writer.anchor)

    def predictions(
        self, device: str, release_seq: int, at_us: int, *, count: int = 6, slow: float = 1.0
    ) -> NewFrame | Spoiled:
        """One frame of predictions."""
        rng = np.random.default_rng(at_us // 1_000_000 + len(device) * 7 + 31 * int(device[-2:]))
        latency = rng.lognormal(np.log((2600 + 60 * int(device[-2:])) * slow), 0.25, count).astype(int)
        made = [
            records.Prediction(index, at_us - 1_000_000 + index, 0, index % 10, np.full(10, 0.09, np.float32), int(us))
            for index, us in enumerate(latency)
        ]
        origin = records.Origin(MODEL, release_seq, self.bundles[release_seq])
        return self.frames(
            device, Lane.PREDICTIONS, records.encode_predictions(origin, made, scores=True), count, at_us
        )

    def summary(self, device: str, release_seq: int, at_us: int, *, shift: int = 0) -> NewFrame | Spoiled:
        """One frame with a summary whose first two features are moved by `shift` bins."""
        rng = np.random.default_rng(at_us // 1_000_000)
        drift = {}
        for index, feature in enumerate(FEATURES):
            moved = np.roll(REFERENCE, shift if index < 2 else 0)
            drift[feature] = tuple(int(n) for n in rng.poisson(moved))
        told = summary.Summary(span_us=MINUTE_US, predictions=10, drift=drift)
        row = records.Row(summary.CODE, at_us, at_us, told.detail(), MODEL, self.bundles[release_seq])
        return self.frames(device, Lane.SUMMARIES, records.encode_rows([row]), 1, at_us)

    def event(self, device: str, code: str, detail: Mapping[str, object], at_us: int) -> NewFrame | Spoiled:
        """One frame with an event."""
        row = records.Row(code, at_us, at_us, detail, MODEL)
        return self.frames(device, Lane.EVENTS, records.encode_rows([row]), 1, at_us)

    def report(self, device: str, **changes: object) -> None:
        """Change what a device tells of its model."""
        before = self.parts.store.reported.get(DeviceId(device))
        assert before is not None
        model = replace(before.twin.models[MODEL], **changes)  # type: ignore[arg-type]
        after = replace(before.twin, version=before.twin.version + 1, models={MODEL: model})
        self.parts.store.reported.put(DeviceId(device), after, self.parts.now_us())


def epoch_of(device: str) -> int:
    return int.from_bytes(hashlib.sha256(device.encode()).digest()[:8], "big")


def app_over(parts: Parts, *, warning: str = "") -> FastAPI:
    """The console's app, as the hub puts it together."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.services = parts
    http.install(app)
    app.include_router(console_router(parts, warning=warning))
    return app


@contextmanager
def stores(root: Path, now_us: Callable[[], int]) -> Iterator[Parts]:
    """Open the stores of a folder."""
    folder = HubFolder(root)
    with FleetStore(folder.fleet_db) as store, TelemetryStore(root / FILE_NAME) as telemetry:
        rollouts = RolloutStore(store)
        dispatcher = Dispatcher(store, rollouts, telemetry, NoBroker(store, now_us), now_us)
        people = People(store, now_us)
        yield Parts(folder, store, telemetry, rollouts, dispatcher, people, now_us)


def add_people(parts: Parts) -> None:
    """One login for each role, named as the role."""
    for role in Role:
        parts.people.set_login(role, PASSWORD, role, "hub")


def fill(parts: Parts, *, devices: int = 40) -> LabFleet:
    """Fill the stores with a fleet in the middle of a rollout, and with what can go wrong."""
    now = parts.now_us()
    fleet = LabFleet(parts, TelemetryWriter(parts.telemetry), {seq: _publish(parts, seq, now) for seq in (2, 3)})
    names = [f"pi-{index:02d}" for index in range(devices)]
    for index, name in enumerate(names):
        _enrol(fleet, name, index, now)
    arrivals = [
        fleet.predictions(name, _runs(index), now - minute * MINUTE_US, slow=1.6 if 20 <= minute <= 28 else 1.0)
        for minute in range(59, -1, -1)
        for index, name in enumerate(names)
        if index not in (5, 39)
    ]
    arrivals += [
        fleet.summary(
            names[index], _runs(index), now - hour * 60 * MINUTE_US, shift=4 if hour < 7 and index < 12 else 0
        )
        for hour in range(20, -1, -1)
        for index in (1, 9, 10, 30)
    ]
    arrivals.append(
        fleet.event(names[3], "refused", {"reason": "golden-mismatch", "detail": HOSTILE}, now - 9 * MINUTE_US)
    )
    fleet.writer.commit(arrivals)
    for index, name in enumerate(names[:-1]):
        _report(fleet, name, index, now)
    _rollouts(fleet, names, now)
    parts.store.audit.add("operator", "rollout.start", "digits-3-lab", now, {"before": "draft", "after": "running"})
    return fleet


def _runs(index: int) -> int:
    return 3 if index < 14 and index not in (3, 4, 12) else 2


def _publish(parts: Parts, seq: int, now: int) -> Digest:
    golden = GoldenSet({"x": np.ones((2, 3), np.float32)}, {"litert": {"y": np.ones((2, 2), np.float32)}})
    baseline = Baseline(dict.fromkeys(FEATURES, EDGES), dict.fromkeys(FEATURES, REFERENCE), np.array([1, 1]))
    artifact = bytes([seq]) * 15_800
    manifest = Manifest(
        model=MODEL, target="generic-x86_64", task=Task.CLASSIFICATION,
        artifact=Artifact("model.tflite", Format.TFLITE, _sha(artifact), len(artifact), "int8"),
        inputs=(TensorSpec("x", "float32", (1, 3)),), outputs=(TensorSpec("y", "float32", (1, 2)),), labels=("a", "b"),
        runtimes={"litert": "2.0", "tflite": "2.14"},
        golden=Golden(2, _sha(golden.dump()), {"litert": Tolerance("lsb", 1)}, {"litert": "2.0"}),
        baseline_sha256=_sha(baseline.dump()), provenance={}, metric={"accuracy": 0.9722 + seq / 1000},
    )  # fmt: skip
    folder = parts.folder.repository / "targets" / "canary" / MODEL / str(seq)
    folder.mkdir(parents=True)
    path = folder / "new.sprat"
    digest = write_bundle(path, manifest=manifest, artifact=artifact, golden=golden, baseline=baseline, card="")
    path.rename(folder / f"{digest}.generic-x86_64.sprat")
    signed = {"schema": "sprat.release/1", "ram_peak_kib": 5200, "rollback_of": 0}
    parts.store.releases.add(
        PublishedRelease(
            channel=Channel("canary"), model=MODEL, release_seq=seq, target="generic-x86_64", bundle=digest, size=24_100,
            signed=signed, manifest={"metric": manifest.metric, "runtimes": manifest.runtimes,
            "artifact": {"format": "tflite", "scheme": "int8"}}, measured={"signers": ["8f2a63b1c0de"]},
            accepted_us=now - (4 - seq) * 86_400_000_000, accepted_by="admin",
        )
    )  # fmt: skip
    return digest


def _enrol(fleet: LabFleet, name: str, index: int, now: int) -> None:
    store = fleet.parts.store
    labels = {"site": f"{SITES[index % 5]}-{index % 7:02d}"} | ({"note": HOSTILE} if index == 3 else {})
    store.devices.add(Device(DeviceId(name), Channel("canary"), (MODEL,), labels, now - 30 * 86_400_000_000))
    if index == 39:
        return  # enrolled, never seen
    store.devices.presence(DeviceId(name), online=True, boot_id="b", now_us=now - 5 * 3_600_000_000)
    if index == 5:
        store.devices.presence(DeviceId(name), online=False, boot_id="b", now_us=now - 47 * MINUTE_US)
    else:
        store.devices.seen(DeviceId(name), now - (index % 9) * 1_000_000)


def _report(fleet: LabFleet, name: str, index: int, now: int) -> None:
    old, new = Installed(fleet.bundles[2], 2), Installed(fleet.bundles[3], 3)
    runs = new if _runs(index) == 3 else old
    install = InstallReport(InstallPhase.CONFIRMED, runs.release_seq, runs.bundle, "lab")
    if index == 3:
        install = InstallReport(
            InstallPhase.REFUSED, 3, new.bundle, "lab", Reason.GOLDEN_MISMATCH, f"17 of 64 rows differ {HOSTILE}", 1
        )
    if index == 4:
        install = InstallReport(
            InstallPhase.REFUSED, 3, new.bundle, "lab", Reason.HASH_MISMATCH, "found 3f9a11c2, signed 77e0b812", 2
        )
    if index == 12:
        install = InstallReport(InstallPhase.TRIAL, 3, new.bundle, "lab")
    ledger = {}
    for lane in (Lane.EVENTS, Lane.SUMMARIES, Lane.PREDICTIONS):
        acked = fleet.produced.get((name, lane), 0)
        spooled = 40 if lane is Lane.PREDICTIONS else 0
        ledger[str(lane)] = LaneReport(f"{epoch_of(name):016x}", acked + spooled + 3, acked, spooled, 3, 0, 0)
    if index == 7:
        whole = ledger["predictions"]
        ledger["predictions"] = replace(whole, produced=whole.produced + 25)  # 25 records are unaccounted for
    facts = {"arch": "aarch64", "cores": 4, "ram_kib": 948_000, "runtimes": {"litert": "2.3.0"}, "python": "3.11.7"}
    told = Reported(
        version=4, applied_incarnation="lab", applied_version=1, agent="0.1.0", clock="synchronised", channel="canary",
        facts=facts | ({"board": HOSTILE} if index == 3 else {}),
        models={MODEL: ModelReport(runs, old if runs is new else None, install, runs.bundle, healthy=5120 + index)},
        ledger=ledger,
    )  # fmt: skip
    fleet.parts.store.reported.put(DeviceId(name), told, now - 20_000_000)
    if index < 16:
        offer = Offer("lab", Channel("canary"), 3, "generic-x86_64", fleet.bundles[3])
        fleet.parts.store.desired.put(DeviceId(name), twin.with_offer(twin.first("lab"), MODEL, offer), now)


def _rollouts(fleet: LabFleet, names: list[str], now: int) -> None:
    spec = Spec(
        MODEL, 3, Channel("canary"), Cohort(everyone=True),
        (Wave(count=1), Wave(percent=10), Wave(percent=40), Wave(percent=100)), Gates(50, 0.2, 0.05, 1.5), 3600,
    )  # fmt: skip
    members = {}
    for index, name in enumerate(names):
        wave = 0 if index == 0 else 1 if index < 4 else 2 if index < 16 else 3
        status = MemberStatus.DONE if _runs(index) == 3 else MemberStatus.OFFERED if wave < 3 else MemberStatus.PENDING
        reason = detail = ""
        if index in (3, 4):
            status, reason = MemberStatus.FAILED, (Reason.GOLDEN_MISMATCH, Reason.HASH_MISMATCH)[index - 3]
            detail = "17 of 64 rows differ" if index == 3 else "found 3f9a11c2, signed 77e0b812"
        if index == 5:
            status = MemberStatus.WAITING
        members[name] = Member(
            name, wave, status, now - 20 * MINUTE_US, "generic-x86_64", fleet.bundles[3], reason, detail
        )
    running = Rollout(
        "digits-3-lab", spec, now - 3_600_000_000, "operator", RolloutPhase.RUNNING, 2, now - 20 * MINUTE_US,
        now - 3_500_000_000, now, "", members,
        (GateValue("failed-share", 0.125, 0.2), GateValue("error-share", 0.0, 0.05), GateValue("p95-ratio", None, 1.5)),
    )  # fmt: skip
    log = [LogEntry(now - 3_500_000_000, "operator", "started", "40 devices in 4 waves"),
           LogEntry(now - 40 * MINUTE_US, "hub", "wave-passed", "wave 1"),
           LogEntry(now - 20 * MINUTE_US, "hub", "wave-passed", "wave 2")]  # fmt: skip
    fleet.parts.rollouts.save(running, None, log)
    done = {
        name: Member(
            name, 0, MemberStatus.DONE if members[name].wave == 3 else MemberStatus.SUPERSEDED, now, "generic-x86_64",
            fleet.bundles[2],
        )
        for name in names[:39]
    }  # fmt: skip
    first = replace(
        running, id="digits-2-lab", spec=replace(spec, release_seq=2, waves=(Wave(percent=100.0),)), wave=0,
        phase=RolloutPhase.COMPLETED, created_us=now - 90_000_000_000, members=done, gates=(),
    )  # fmt: skip
    fleet.parts.rollouts.save(first, None, [])


def _sha(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())

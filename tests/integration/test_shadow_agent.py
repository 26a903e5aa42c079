"""A real agent with two real bundles: one answers, one stands beside it, and whatever becomes of that one changes nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import onnx_models
from tests.installs import MODEL, Board, offer_of
from tests.samples import Publisher
from tests.spools import open_spool, waiting
from tests.transports import ListTransport
from tests.unit.device.inference import bundles

from sprat.hub.store.telemetry import TelemetryStore
from sprat.hub.store.telemetry_commit import TelemetryWriter
from sprat.hub.telemetry import intake
from sprat_device.agent import Agent, Inbox
from sprat_device.board.clock import SystemClock
from sprat_device.board.settings import DeviceSettings, InputSettings, TelemetrySettings
from sprat_device.board.settings.capture import CaptureSettings
from sprat_device.board.settings.shadow import ShadowSettings
from sprat_device.contract import capture, shadow, twin
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.capture import Rule
from sprat_device.contract.frame import open_frame
from sprat_device.contract.manifest import TensorSpec, Tolerance
from sprat_device.contract.phases import ClockState, InstallPhase, Lane
from sprat_device.contract.records import decode
from sprat_device.contract.topics import Kind, topic
from sprat_device.contract.twin import Desired, ModelReport, Offer, ShadowReport
from sprat_device.inference import runtimes
from sprat_device.inference.session import Session
from sprat_device.install.fit import Machine
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.transport import Message
from sprat_device.telemetry.uplink import Uplink

pytestmark = pytest.mark.integration
IMAGE = TensorSpec("image", "float32", (-1, 1, 8, 8), minimum=0.0, maximum=1.0)
SCORES = TensorSpec("scores", "float32", (-1, 10), meaning="probabilities")
DIGITS = tuple("0123456789")
LONG_S = 120.0


def written(folder: Path, *, seed: int) -> Path:
    """Write a bundle of a real network, its golden answers by the runtime itself."""
    images, _classes = onnx_models.digits()
    described = replace(
        bundles.manifest(inputs=(IMAGE,), outputs=(SCORES,), labels=DIGITS, runtimes={"onnx": "1.0"}), model=MODEL
    )
    artifact = onnx_models.cnn(seed=seed).SerializeToString()
    golden = GoldenSet({"image": images[:8]}, {})
    tolerance = Tolerance("absolute", 1e-4)
    bare = bundles.write(folder / "bare.sprat", described, artifact, golden, tolerance=tolerance, baseline=NOTHING)
    outputs = Session.open(bare, cache=folder / "cache").run_raw({"image": images[:8]})
    golden = GoldenSet({"image": images[:8]}, {"onnx": outputs})
    return bundles.write(
        folder / f"{seed}.sprat", described, artifact, golden, tolerance=tolerance, baseline=NOTHING
    )  # fmt: skip


NOTHING = replace(bundles.BASELINE, edges={}, counts={}, class_counts=np.ones(10, np.int64))


class World:
    """Two released bundles, and the device that shall run them."""

    def __init__(self, folder: Path, networks: tuple[Path, Path]) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher")
        self.active, self.other = (self.release(path) for path in networks)
        images, _classes = onnx_models.digits()
        np.savez(folder / "inputs.npz", image=images)

    def release(self, path: Path) -> Offer:
        return offer_of(self.publisher.release(path), path, rollout=f"r{path.stem}")


class PolledUplink(Uplink):
    """An uplink that the test's thread polls."""

    alive = True

    def start(self) -> None:
        """Have no thread."""

    def stop(self, _timeout_s: float = 0) -> bool:
        self.poll()
        return True


class Life:
    """An agent in a thread, with real loops, processes and disk; only the broker is a list."""

    def __init__(self, world: World, **shadow_settings: Any) -> None:
        self.world = world
        found = {"onnx": runtimes.available()["onnx"]}
        clock = SystemClock(ClockState.SYNCHRONISED)
        board = Board(
            world.folder / "state", world.publisher, clock=clock,  # type: ignore[arg-type]
            machine=Machine("x86_64", 1 << 24, found), check=(sys.executable, "-m", "sprat_device.inference.check"),
        )  # fmt: skip
        self.device = board.identity.device
        self.transport = ListTransport()
        self.spool = open_spool(world.folder / "state" / "spool", cap_bytes=50_000_000, segment_bytes=512 * 1024)
        telemetry = TelemetrySettings(frame_interval_s=0.2, summary_interval_s=1.0)
        settings = replace(
            DeviceSettings(),
            telemetry=telemetry,
            inputs=(
                InputSettings(
                    model=MODEL, kind="replay", path=str(world.folder / "inputs.npz"), rate_hz=100, loop=True
                ),
            ),
            shadow=ShadowSettings(
                **{"cpu_share": 0.5, "memory_bytes": 400_000_000, "timeout_s": 10.0, **shadow_settings}
            ),
            capture=CaptureSettings(enabled=True, labels=("7",), daily_bytes=200_000_000),
        )

        def uplink(inbox: Inbox) -> Uplink:
            self.uplink = PolledUplink(
                self.device, self.spool, self.transport, clock, telemetry, on_desired=inbox.put, on_command=inbox.put
            )
            return self.uplink

        self.agent = Agent(
            state=world.folder / "state", settings=settings, identity=board.identity, files=board.files, clock=clock,
            spool=self.spool, recorder=Recorder(self.spool, clock, telemetry), installer=board.installer,
            runtimes=found, uplink=uplink,
        )  # fmt: skip
        self.version = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failed: list[BaseException] = []
        self._thread.start()

    def _run(self) -> None:
        def stopped() -> bool:
            self.uplink.poll()
            return self._ending.is_set()

        try:
            self.agent.run(stopped)
        except BaseException as exc:  # noqa: BLE001 - shown by the test
            self.failed.append(exc)

    def desire(self, *, active: Offer | None, beside: Offer | None) -> None:
        self.version += 1
        desired = Desired(
            incarnation="i", version=self.version,
            offers={MODEL: active} if active else {}, shadows={MODEL: beside} if beside else {},
        )  # fmt: skip
        self.transport.signals.append(Message(topic(self.device, Kind.DESIRED), desired.dump(), "", b""))

    @property
    def model(self) -> ModelReport:
        return self.agent._reporter.last.models.get(MODEL, ModelReport())

    @property
    def shadow(self) -> ShadowReport:
        return self.model.shadow or ShadowReport()

    @property
    def pid(self) -> int:
        running = self.agent._watching._shadows._running.get(MODEL)
        return running.pid if running else 0

    def until(self, reached: Callable[[], bool], *, timeout_s: float = LONG_S) -> None:
        end = time.monotonic() + timeout_s
        while not reached():
            assert not self.failed, self.failed
            assert time.monotonic() < end, (self.model, self.pid)
            time.sleep(0.02)

    def answers_on(self) -> None:
        """Wait until the active bundle has answered some more, without an error."""
        before = self.model.healthy
        self.until(lambda: self.model.healthy > before + 100)
        assert (self.model.errors, self.model.running) == (0, self.world.active.bundle)

    def stop(self) -> list[bytes]:
        """End the agent, and return all its frames."""
        self._ending.set()
        self._thread.join(LONG_S)
        assert not self.failed, self.failed
        spool = open_spool(self.world.folder / "state" / "spool", cap_bytes=50_000_000, first_epoch=99)
        return list(waiting(spool).values())


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return written(folder, seed=0), written(folder, seed=1)


@pytest.fixture
def world(tmp_path: Path, networks: tuple[Path, Path]) -> World:
    return World(tmp_path, networks)


AWAKE = """
import os
os.nice = lambda _more: 0
os.sched_setscheduler = lambda *_given: None
"""


@pytest.fixture(autouse=True)
def awake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shadow stands back behind everything on the machine: behind other tests too, which would look like a hang."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(AWAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


@pytest.fixture
def live(world: World) -> Iterator[Callable[..., Life]]:
    lives: list[Life] = []

    def begin(**settings: Any) -> Life:
        lives.append(Life(world, **settings))
        return lives[-1]

    yield begin
    for life in lives:
        if life._thread.is_alive():
            life._ending.set()
            life._thread.join(LONG_S)


def rows(frames: list[bytes], lane: Lane) -> list[Any]:
    found: list[Any] = []
    for raw in frames:
        frame = open_frame(raw)
        if frame.header.lane is lane:
            found += decode(frame.body, count=frame.header.count)  # type: ignore[arg-type]
    return found


def test_two_networks_on_the_same_digits(world: World, live: Callable[..., Life], tmp_path: Path) -> None:
    life = live()
    life.desire(active=world.active, beside=world.other)
    life.until(lambda: life.shadow.compared >= 150)
    assert life.model.install.phase is InstallPhase.CONFIRMED
    assert (life.shadow.install.phase, life.shadow.running) == (InstallPhase.CHECKED, world.other.bundle)
    assert 0.8 < life.shadow.agreed / life.shadow.compared <= 1
    life.answers_on()
    frames = life.stop()

    told = [shadow.parse(row.detail) for row in rows(frames, Lane.SUMMARIES) if row.code == shadow.CODE]
    assert {(row.bundle, row.model) for row in rows(frames, Lane.SUMMARIES) if row.code == shadow.CODE} == {
        (world.active.bundle, MODEL)
    }
    assert {one.shadow for one in told} == {world.other.bundle}
    compared = sum(one.compared for one in told)
    assert compared >= 150
    assert compared <= sum(one.readings for one in told)
    assert 0 < sum(one.distance_sum for one in told) / compared < 0.2
    assert 10_000 < max(one.rss_kib for one in told) < 400_000

    # What the hub makes of the very same frames.
    with TelemetryStore(tmp_path / "telemetry.db") as store:
        arrived = [intake.read("d1", raw, time.time_ns() // 1000, lambda *_: None) for raw in frames]
        TelemetryWriter(store).commit(arrived)
        assert sum(hour.told.compared for hour in store.shadows(world.other.bundle)) == compared
        assert store.quarantine() == ()


def test_captures_are_the_very_readings_that_a_rule_wanted(world: World, live: Callable[..., Life]) -> None:
    life = live()
    life.desire(active=world.active, beside=world.other)
    life.until(lambda: life.shadow.compared - life.shadow.agreed >= 3)
    life.answers_on()
    kept = [capture.parse(row.detail) for row in rows(life.stop(), Lane.CAPTURES)]
    images, classes = onnx_models.digits()
    assert {Rule.LABEL, Rule.SHADOW} <= {one.rule for one in kept}
    for one in kept:
        assert np.array_equal(one.inputs["image"], images[one.index % len(images)])
        if one.rule is Rule.LABEL:
            assert one.label == 7
        if one.rule is Rule.SHADOW:
            assert (one.shadow, one.shadow_label != one.label) == (world.other.bundle, True)
    wanted = [one for one in kept if one.rule is Rule.LABEL]
    assert np.mean([classes[one.index % len(images)] == 7 for one in wanted]) > 0.8


def test_killed_frozen_and_hungry_shadows_never_touch_the_active_bundle(
    world: World, live: Callable[..., Life]
) -> None:
    life = live(starts=4)
    life.desire(active=world.active, beside=world.other)
    life.until(lambda: life.shadow.state == "running" and life.shadow.compared > 0)
    for number in (signal.SIGKILL, signal.SIGSTOP):
        first = life.pid
        os.kill(first, number)
        life.answers_on()
        life.until(lambda: life.pid not in (0, first) and life.shadow.state == "running")  # noqa: B023
    life.answers_on()
    reasons = [row.detail["reason"] for row in rows(life.stop(), Lane.EVENTS) if row.code == "shadow-ended"]
    assert reasons == ["ended", "hung"]


def test_a_shadow_that_takes_too_much_memory_is_given_up_and_told(world: World, live: Callable[..., Life]) -> None:
    life = live(starts=1, memory_bytes=20_000_000)
    life.desire(active=world.active, beside=world.other)
    life.until(lambda: life.shadow.state == "given-up")
    assert life.shadow.detail.startswith("memory: ")
    life.answers_on()
    codes = [row.code for row in rows(life.stop(), Lane.EVENTS)]
    assert "shadow-given-up" in codes


def test_a_shadow_becomes_the_active_bundle_and_another_start_finds_it(world: World, live: Callable[..., Life]) -> None:
    life = live()
    life.desire(active=world.active, beside=world.other)
    life.until(lambda: life.shadow.state == "running")
    life.desire(active=world.other, beside=None)
    life.until(lambda: life.model.running == world.other.bundle and life.model.install.phase is InstallPhase.CONFIRMED)
    assert life.pid == 0
    life.until(lambda: life.model.shadow is None)
    life.desire(active=world.other, beside=world.active)
    # It is below the floor now: no shadow brings an older release back.
    life.until(lambda: life.shadow.install.phase is InstallPhase.REFUSED)
    assert life.shadow.install.reason == "below-floor"
    life.stop()


def test_after_a_restart_the_shadow_stands_there_again_without_a_hub(world: World, live: Callable[..., Life]) -> None:
    life = live()
    life.desire(active=world.active, beside=world.other)
    life.until(lambda: life.shadow.state == "running")
    life.stop()
    again = live()
    again.transport.reachable = False
    again.until(lambda: again.shadow.state == "running" and again.shadow.compared > 5)
    again.stop()
    assert isinstance(again.agent._reporter.last, twin.Reported)


def test_a_damaged_shadow_runs_nothing_and_is_fetched_again(world: World, live: Callable[..., Life]) -> None:
    life = live()
    life.desire(active=world.active, beside=world.other)
    life.until(lambda: life.shadow.state == "running")
    life.stop()
    # Another valid bundle: only its digest tells that it is not the one that was verified.
    stored = world.folder / "state/bundles"
    verified = (stored / f"{world.other.bundle}.sprat").read_bytes()
    shutil.copy(stored / f"{world.active.bundle}.sprat", stored / f"{world.other.bundle}.sprat")
    again = live()
    again.until(lambda: again.shadow.state == "running")
    assert again.shadow.install.attempts == 2
    assert (stored / f"{world.other.bundle}.sprat").read_bytes() == verified
    given_up = [row.detail for row in rows(again.stop(), Lane.EVENTS) if row.code == "shadow-given-up"]
    assert [detail["reason"] for detail in given_up] == ["hash-mismatch"]

"""The agent around real rooms: its slots, spool and recorder are real; only the broker and the runtime are stood in for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.clock import ManualClock
from tests.installs import MODEL, RUNTIMES, Board, offer_of
from tests.samples import NOW, Publisher, bundle
from tests.spools import open_spool
from tests.transports import ListTransport
from tests.unit.device.inference import bundles as tiny

from sprat_device.agent import Agent, Ending, Inbox
from sprat_device.board.settings import DeviceSettings, InputSettings, TelemetrySettings
from sprat_device.contract import topics, twin
from sprat_device.contract.acks import Ack
from sprat_device.contract.errors import BundleRefused, MachineLacks
from sprat_device.contract.frame import open_frame
from sprat_device.contract.ids import Digest
from sprat_device.contract.phases import InstallPhase, Reason
from sprat_device.contract.topics import Kind, topic
from sprat_device.contract.twin import Desired, Offer, Reported
from sprat_device.inference.loop import Loop
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.session import Session
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.transport import Message
from sprat_device.telemetry.uplink import Uplink

pytestmark = pytest.mark.integration
Arrays = Mapping[str, npt.NDArray[Any]]
LOOPS = 60


def answers(inputs: Arrays) -> Arrays:
    return {"y": inputs["x"]}


def fails(_inputs: Arrays) -> Arrays:
    raise RunFailed("the op failed")


class PolledUplink(Uplink):
    """An uplink without its thread: the test's loop polls it."""

    def start(self) -> None:
        pass

    def stop(self, timeout_s: float | None = None) -> bool:
        self.poll()
        self.poll()  # the hub's word to what went with the first
        return True

    @property
    def alive(self) -> bool:
        return True


class Stepped:
    """A loop without its thread: the test steps it."""

    alive = True
    beats = 0

    def __init__(self, loop: Loop) -> None:
        self.loop = loop

    def stop(self, timeout_s: float) -> bool:
        return True


class PromptHub(ListTransport):
    """A hub that has every frame safe at once; its word arrives with the next round."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes = b"") -> int:
        address = topics.parse(topic)
        if address.kind is Kind.FRAMES:
            header = open_frame(payload).header
            ack = Ack(header.epoch, header.lane, ((header.seq, header.seq),)).dump()
            self.signals.append(Message(topics.topic(address.device, Kind.ACK), ack, "", b""))
        return super().publish(topic, payload, retain=retain, correlation=correlation)


class World:
    """A publisher, a device's state folder, and what each bundle does when it is loaded."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=NOW)
        self.behaviour: dict[str, Callable[[Arrays], Arrays] | Exception] = {}
        self.opened: list[str] = []
        self.version = 0
        np.savez(folder / "inputs.npz", x=np.ones((5, 3), np.float32))
        patch.setattr(Session, "open", self._open)
        patch.setattr("sprat_device.agent.agent._HOUSEKEEPING_S", 0)  # it would wait so long for mail in earnest

    def release(self, name: str, does: Callable[[Arrays], Arrays] | Exception = answers) -> Offer:
        path = bundle(self.folder / f"{name}.sprat", fill=name.encode())
        self.behaviour[hashlib.sha256(path.read_bytes()).hexdigest()] = does
        return offer_of(self.publisher.release(path), path, rollout=name)

    def start(self, transport: ListTransport | None = None) -> Life:
        return Life(self, transport or ListTransport())

    def _open(self, path: Path, **_settings: object) -> Session:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.opened.append(digest)
        does = self.behaviour[digest]
        if isinstance(does, Exception):
            raise does
        return tiny.session(does, digest=Digest(digest))


class Life:
    """One start of the agent; `during` runs between two steps of its loop."""

    def __init__(self, world: World, transport: ListTransport) -> None:
        self.world = world
        state = world.folder / "state"
        board = Board(state, world.publisher)
        self.clock: ManualClock = board.clock
        self.transport = transport
        self.reports: list[Reported] = []
        self.loops: list[Stepped] = []
        telemetry = TelemetrySettings(frame_interval_s=0.05)
        inputs = InputSettings(model=MODEL, kind="replay", path=str(world.folder / "inputs.npz"), loop=True)
        spool = open_spool(state / "spool", first_epoch=len(world.opened) + 1)

        def uplink(inbox: Inbox) -> Uplink:
            return PolledUplink(
                board.identity.device, spool, self.transport, board.clock, telemetry,
                on_desired=inbox.put, on_command=inbox.put,
            )  # fmt: skip

        self.agent = Agent(
            state=state,
            settings=replace(DeviceSettings(), inputs=(inputs,), telemetry=telemetry),
            identity=board.identity,
            files=board.files,
            clock=board.clock,
            spool=spool,
            recorder=Recorder(spool, board.clock, telemetry),
            installer=board.installer,
            runtimes=RUNTIMES,
            uplink=uplink,
            work=self.work,
        )

    def work(self, loop: Loop, _name: str) -> Stepped:
        self.loops.append(Stepped(loop))
        return self.loops[-1]

    def offer(self, offer: Offer) -> None:
        """Let the hub's retained message arrive."""
        self.world.version += 1
        desired = Desired(incarnation="i", version=self.world.version, offers={MODEL: offer})
        self.transport.signals.append(Message(topic(self.device, Kind.DESIRED), desired.dump(), "", b""))

    @property
    def device(self) -> Any:
        return self.agent._identity.device

    def run(self, loops: int = LOOPS) -> Life:
        """Run the agent's loop so often, then stop it."""
        left = loops

        def stopped() -> bool:
            nonlocal left
            self.agent._uplink.poll()
            for stepped in self.loops:
                stepped.loop.step(0)
            self.clock.advance(0.3)
            left -= 1
            return left < 0

        self.agent.run(stopped)
        self.reports = [twin.parse_reported(raw) for raw in self.transport.take(Kind.REPORTED)]
        return self

    @property
    def last(self) -> twin.ModelReport:
        return self.reports[-1].models[MODEL]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_an_offer_is_installed_answers_and_is_proven(world: World) -> None:
    life = world.start()
    offer = world.release("one")
    life.offer(offer)
    life.run()
    assert (life.last.running, life.last.install.phase) == (offer.bundle, InstallPhase.CONFIRMED)
    assert life.last.healthy > 4


def test_a_release_takes_the_artifacts_of_bundles_that_are_gone(world: World) -> None:
    cache = world.folder / "state" / "artifacts"
    cache.mkdir(parents=True)
    (cache / f"{'0' * 64}.tflite").touch()
    life = world.start()
    life.offer(world.release("one"))
    life.run()
    assert life.last.running
    assert list(cache.iterdir()) == []


def test_the_next_start_answers_without_a_hub(world: World) -> None:
    life = world.start()
    offer = world.release("one")
    life.offer(offer)
    life.run()
    again = world.start()
    again.transport.reachable = False
    again.run()
    (stepped,) = again.loops
    assert stepped.loop.running == offer.bundle
    assert stepped.loop.healthy > 4


@pytest.mark.parametrize(
    ("why", "phase"),
    [
        (BundleRefused(Reason.UNKNOWN_STEP, "no such step"), InstallPhase.REVERTED),
        (MachineLacks("no such runtime"), InstallPhase.CHECKED),  # it is put off
        (RuntimeError("a defect"), InstallPhase.REVERTED),
    ],
)
def test_a_bundle_that_does_not_load_leaves_the_old_one_answering(
    world: World, why: Exception, phase: InstallPhase
) -> None:
    first, second = world.release("one"), world.release("two", why)
    life = world.start()
    life.offer(first)
    life.run()
    life = world.start()
    life.offer(second)
    life.run()
    assert (life.last.running, life.last.install.phase) == (first.bundle, phase)
    assert life.last.install.reason == Reason.NOT_LOADED
    assert world.opened.count(second.bundle) == 1


def test_a_first_bundle_that_fails_answers_no_longer_and_the_next_one_does(world: World) -> None:
    bad, good = world.release("bad", fails), world.release("good")
    life = world.start()
    life.offer(bad)
    life.run()
    assert (life.last.running, life.last.active, life.last.install.phase) == ("", None, InstallPhase.REVERTED)
    life = world.start()
    life.offer(good)
    life.run()
    assert life.last.running == good.bundle


def test_the_same_bytes_under_a_new_release_are_told_under_its_number(world: World) -> None:
    first = world.release("one")
    life = world.start()
    life.offer(first)
    life.run()
    path = world.folder / "one.sprat"
    second = offer_of(world.publisher.release(path), path, rollout="again")
    assert (second.bundle, second.release_seq) == (first.bundle, first.release_seq + 1)
    life = world.start()
    life.offer(second)
    life.run()
    assert life.last.active == twin.Installed(second.bundle, second.release_seq)
    assert world.opened.count(first.bundle) == 3  # at first, at the start, and under its new number


def test_an_offer_for_a_model_that_is_not_pinned_is_told_and_left(world: World) -> None:
    life = world.start()
    offer = world.release("one")
    world.version += 1
    desired = Desired(incarnation="i", version=world.version, offers={"stranger": offer})
    life.transport.signals.append(Message(topic(life.device, Kind.DESIRED), desired.dump(), "", b""))
    life.run()
    assert life.last.running == ""
    assert (life.reports[-1].applied_incarnation, life.reports[-1].applied_version) == ("i", world.version)


def test_a_disk_that_can_be_written_again_begins_the_agent_anew(world: World) -> None:
    life = world.start()
    life.agent._healed = lambda: True
    assert life.agent.run(lambda: False) is Ending.RESTART
    assert world.start().agent.run(lambda: True) is Ending.STOPPED


def test_a_stopped_agent_leaves_the_ledger_of_its_disk_and_all_that_it_answered(world: World) -> None:
    life = world.start(PromptHub())
    life.offer(world.release("one"))
    life.run()
    left = twin.parse_reported((world.folder / "state/status.json").read_bytes())
    found = open_spool(world.folder / "state/spool").ledger()
    assert left.ledger == {str(lane): report for lane, report in found.items()}  # what is on the disk is not open
    lane, model = left.ledger["predictions"], left.models[MODEL]
    assert (lane.open, lane.produced) == (0, model.healthy + model.errors)
    assert lane.acked > 0  # also what the hub acknowledged after the last record was written
    assert left.version == life.reports[-1].version + 1

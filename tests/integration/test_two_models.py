"""One agent, two models side by side on two runtimes, three inputs of two kinds, and a real broker that hears of all."""

from __future__ import annotations

import json
import queue
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests import daemons
from tests.brokers import Mosquitto, TestAuthority
from tests.daemons import DEVICE, Agent, make_state, wait_for
from tests.opened import open_artifact
from tests.unit.device.inference import bundles

from sprat_device.board import identity as identities
from sprat_device.board.files import OsFiles
from sprat_device.contract import topics
from sprat_device.contract.bundle import Baseline, GoldenSet
from sprat_device.contract.frame import open_frame
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import Format, Manifest, Task, TensorSpec, Tolerance
from sprat_device.contract.records import PredictionColumns, decode
from sprat_device.contract.topics import Kind
from sprat_device.contract.twin import Installed
from sprat_device.inference import runtimes
from sprat_device.install.slots import Pair, Slots

pytestmark = pytest.mark.integration
TINY = Path(runtimes.__file__).with_name("tiny") / "double.tflite"
DOUBLE = ModelName("double")
SETTINGS = """
[telemetry]
frame_interval_s = 0.2
[serve]
listen = "unix:{socket}"
[[inputs]]
model = "tiny"
name = "stream"
kind = "replay"
path = "{state}/inputs.npz"
rate_hz = 50
loop = true
[[inputs]]
model = "tiny"
name = "asked"
kind = "serve"
[[inputs]]
model = "double"
kind = "{kind}"
"""


def doubling() -> Manifest:
    raw = open_artifact(Format.TFLITE, TINY)
    (given,), (answer,) = raw.inputs, raw.outputs
    return replace(
        bundles.manifest(
            inputs=(TensorSpec(given.name, "float32", (1, 2)),),
            outputs=(TensorSpec(answer.name, "float32", (1, 2), meaning="values"),),
            labels=(), runtimes={"litert": "1.0"}, format_=Format.TFLITE, task=Task.REGRESSION,
        ),
        model=DOUBLE,
    )  # fmt: skip


def add_double(state: Path) -> None:
    """Give the device a second model with a confirmed bundle."""
    described = doubling()
    x = np.ones((1, 2), np.float32)
    written = bundles.write(
        state / "double.sprat", described, TINY.read_bytes(),
        GoldenSet({described.inputs[0].name: x}, {"litert": {described.outputs[0].name: 2 * x}}),
        tolerance=Tolerance("absolute", 1e-6), baseline=Baseline({}, {}, np.array([1])),
    )  # fmt: skip
    slots = Slots(OsFiles(), state)
    digest = bundles.sha(written.read_bytes())
    written.rename(slots.path(digest))
    slots.store(DOUBLE, Pair(Installed(digest, 5), None))
    identity = identities.load(state)
    identities.store(replace(identity, models=(*identity.models, DOUBLE)), OsFiles())


class Heard:
    """The hub's ear: every prediction of the device's frames, by model and input."""

    def __init__(self, broker: Mosquitto, authority: TestAuthority) -> None:
        self.frames: queue.Queue[bytes] = queue.Queue()
        self.by_input: dict[tuple[str, str, int], list[list[float]]] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="hub", protocol=paho.MQTTv5)
        self.client.tls_set_context(authority.context("hub"))
        self.client.on_message = lambda _client, _data, message: self.frames.put(message.payload)
        self.client.on_connect = lambda client, *_: client.subscribe(topics.topic(DEVICE, Kind.FRAMES), qos=1)
        self.client.connect("localhost", broker.port)
        self.client.loop_start()

    def holds(self, *wanted: tuple[str, str, int]) -> bool:
        while not self.frames.empty():
            frame = open_frame(self.frames.get())
            body = decode(frame.body, count=frame.header.count)
            if isinstance(body, PredictionColumns):
                origin = body.origin
                told = self.by_input.setdefault((origin.model, origin.input, origin.release_seq), [])
                told.extend(body.outputs.tolist())
        return all(self.by_input.get(each) for each in wanted)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def agent(tmp_path: Path, authority: TestAuthority, broker: Mosquitto) -> Iterator[Agent]:
    state = make_state(tmp_path / "state", authority, broker.port)
    add_double(state)
    configure(state, kind="serve")
    folder = tmp_path / "run"
    folder.mkdir()
    agent = Agent(state, folder)
    yield agent
    agent.close()


def configure(state: Path, *, kind: str) -> None:
    text = SETTINGS.format(socket=state / "serve.sock", state=state, kind=kind)
    (state / "sprat.toml").write_text(text, encoding="utf-8")


def ask(state: Path, model: str, verb: str, body: str) -> tuple[int, dict[str, Any]]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(state / "serve.sock"))
        head = f"POST /v1/models/{model}/{verb} HTTP/1.0\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        came = b""
        while chunk := client.recv(65536):
            came += chunk
    answer: dict[str, Any] = json.loads(came.partition(b"\r\n\r\n")[2])
    return int(came.split(b" ", 2)[1]), answer


def test_two_models_and_three_inputs_answer_side_by_side(
    agent: Agent, broker: Mosquitto, authority: TestAuthority
) -> None:
    state = agent.state
    hub = Heard(broker, authority)
    try:
        agent.ready()
        agent.says("answers on demand at")
        agent.says("tiny: release 1")
        agent.says("double: release 5")
        status, told = ask(state, "tiny", "predict", "[1, 2, 3]")
        assert (status, told["release_seq"], told["name"]) == (200, 1, "high")
        assert told["scores"] == pytest.approx(np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum(), rel=1e-5)
        status, told = ask(state, "double", "predict", "[[1.5, -2], [3, 4]]")
        assert (status, [each["values"] for each in told["predictions"]]) == (200, [[3, -4], [6, 8]])
        wanted = [("tiny", "stream", 1), ("tiny", "asked", 1), ("double", "", 5)]
        wait_for(lambda: hub.holds(*wanted), "predictions of all three inputs at the hub")
        assert hub.by_input["double", "", 5] == [[3, -4], [6, 8]]
        assert len(hub.by_input["tiny", "asked", 1]) == 1

        # The same model is pushed to from now on: the settings change under the agent, the other inputs answer on.
        configure(state, kind="http")
        agent.signal(daemons.Signals.SIGHUP)
        wait_for(lambda: ask(state, "double", "readings", "[7, 8]")[0] == 202, "a push that is taken")
        assert ask(state, "double", "predict", "[7, 8]")[0] == 404
        wait_for(lambda: hub.holds() and [14.0, 16.0] in hub.by_input["double", "", 5], "the pushed reading at the hub")
        assert ask(state, "tiny", "predict", "[3, 2, 1]")[1]["name"] == "low"
        assert agent.end() == 0
        assert not (state / "serve.sock").exists()
    finally:
        hub.close()


def test_a_runtime_that_crashes_takes_only_its_own_model_along(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = agent.state
    agent.ready()
    agent.says("tiny: release 1")
    assert agent.end() == 0
    (state / "runtimes.json").unlink()  # as after an upgrade
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "onnxruntime.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    folder = tmp_path / "again"
    folder.mkdir()
    again = Agent(state, folder)
    try:
        again.says("is not used: crashed with signal 6")
        again.says("double: release 5")
        wait_for(lambda: ask(state, "double", "predict", "[1, 2]")[0] == 200, "an answer of the other model")
        assert ask(state, "tiny", "predict", "[1, 2, 3]")[0] == 503
        assert again.end() == 0
    finally:
        again.close()
    monkeypatch.delenv("PYTHONPATH")
    (tmp_path / "mended").mkdir()
    mended = Agent(state, tmp_path / "mended")
    try:
        mended.says("tiny: release 1")
        wait_for(lambda: ask(state, "tiny", "predict", "[1, 2, 3]")[0] == 200, "an answer, now that the runtime works")
    finally:
        mended.close()


def test_an_address_that_is_taken_stops_nothing_else(agent: Agent, broker: Mosquitto, authority: TestAuthority) -> None:
    state = agent.state
    agent.ready()
    agent.says("answers on demand at")
    assert agent.end() == 0
    hub = Heard(broker, authority)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(state / "serve.sock"))
        other.listen()
        folder = state.parent / "again"
        folder.mkdir()
        again = Agent(state, folder)
        try:
            again.says("another program listens there")
            wait_for(lambda: hub.holds(("tiny", "stream", 1)), "predictions of the stream at the hub")
            (state / "serve.sock").unlink()  # before it is free: the agent may take it at once
            other.close()
            again.says("answers on demand at")
            assert ask(state, "tiny", "predict", "[1, 2, 3]")[0] == 200
            assert again.end() == 0
        finally:
            hub.close()
            again.close()

"""A real agent as a process of its own: enrolled, with a tiny model in its slot, and a service manager that listens."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.brokers import Mosquitto, TestAuthority
from tests.unit.device.inference import bundles

from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity, store
from sprat_device.contract import topics
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.ids import Channel, DeviceId, ModelName
from sprat_device.contract.manifest import Tolerance
from sprat_device.contract.topics import Kind
from sprat_device.contract.twin import Desired, Installed
from sprat_device.install.slots import Pair, Slots

DEVICE = DeviceId("d1")
MODEL = ModelName("tiny")
Start = Callable[..., "Agent"]
"""Starts an agent over a state folder; it is ended with the test."""
HANGS = """
import sys, threading
from pathlib import Path
from sprat_device import daemon
from sprat_device.agent import inputs

class Hanging:
    def fitted(self, manifest): return self
    def read(self, timeout_s): threading.Event().wait()
    def close(self): pass

inputs.open_inlet = lambda *_a, **_k: Hanging()
sys.exit(daemon.run(Path(sys.argv[1])))
"""
"""An agent whose source never comes back."""
SANDBOXED = """
import ctypes, os, sys
# PR_SET_NO_NEW_PRIVS; PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN: what NoNewPrivileges and MemoryDenyWriteExecute do
if ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) or ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "sprat_device", "run", "--state", sys.argv[1]])
"""


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 90) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)
    return found


def softmax() -> bytes:
    """Return an .onnx file that answers with the softmax of its three inputs."""
    from onnx import TensorProto, helper

    def tensor(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])

    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"], axis=1)], "tiny", [tensor("x")], [tensor("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def make_state(state: Path, authority: TestAuthority, port: int) -> Path:
    """Make the state folder of an enrolled device that has one confirmed bundle."""
    certificate, key = authority.issue(DEVICE)
    identity = Identity(
        DEVICE, "https://127.0.0.1:1", "localhost", port, Channel("canary"), (MODEL,), state / "identity"
    )
    identity.folder.mkdir(parents=True)
    for source, target in ((authority.ca, identity.ca), (certificate, identity.certificate), (key, identity.key)):
        target.write_bytes(source.read_bytes())
    identity.root.write_bytes(b"{}")
    store(identity, OsFiles())
    slots = Slots(OsFiles(), state)
    slots.prepare()
    x = np.array([[1, 2, 3]], np.float32)
    golden = GoldenSet({"x": x}, {"onnx": {"y": np.exp(x) / np.exp(x).sum()}})
    written = bundles.write(
        state / "tiny.sprat", bundles.manifest(), softmax(), golden, tolerance=Tolerance("absolute", 1e-5)
    )
    digest = bundles.sha(written.read_bytes())
    written.rename(slots.path(digest))
    slots.store(MODEL, Pair(Installed(digest, 1), None))
    np.savez(state / "inputs.npz", x=np.ones((5, 3), np.float32))
    settings(state)
    return state


def settings(state: Path, *, inputs: Sequence[str] = ("",), more: str = "", top: str = "") -> None:
    """Write the settings: a replay per name, and what a test adds."""
    tables = "".join(
        f'[[inputs]]\nmodel = "{MODEL}"\nname = "{name}"\nkind = "replay"\npath = "{state / "inputs.npz"}"\n'
        "rate_hz = 50\nloop = true\n"
        for name in inputs
    )
    (state / "sprat.toml").write_text(f"{top}\n[telemetry]\nframe_interval_s = 0.2\n{more}\n{tables}", encoding="utf-8")


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))

    def next(self, *, but: str = "", timeout_s: float = 90) -> str:
        """Return the first line of the next word that does not begin with `but`."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            word = self.socket.recv(4096).decode().split("\n")[0]
            if not (but and word.startswith(but)) and not word.startswith("STATUS="):
                return word

    def heard(self) -> list[str]:
        """Return what has come and was not asked for yet."""
        self.socket.setblocking(False)
        words = []
        while True:
            try:
                words.append(self.socket.recv(4096).decode().split("\n")[0])
            except BlockingIOError:
                return words


class Agent:
    """`sprat-device run` as a process."""

    def __init__(
        self, state: Path, folder: Path, *, script: str = "", wrap: Sequence[str] = (), watchdog_s: float = 0
    ) -> None:
        self.state = state
        self.log_path = folder / "agent.log"
        self.manager = Manager(folder)
        command = [sys.executable, "-c", script, str(state)] if script else [
            sys.executable, "-m", "sprat_device", "run", "--state", str(state)
        ]  # fmt: skip
        self.home = folder / "home"
        self.home.mkdir()
        # Libraries behave otherwise where CI is set.
        kept = {name: value for name, value in os.environ.items() if name != "CI"}
        told = {"HOME": str(self.home), "NOTIFY_SOCKET": str(self.manager.path)} | (
            {"WATCHDOG_USEC": str(int(watchdog_s * 1e6))} if watchdog_s else {}
        )
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*wrap, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=kept | told
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def says(self, words: str) -> str:
        """Wait until the log holds some words."""

        def found() -> str:
            if words not in self.log and self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} without {words!r}:\n{self.log}")
            return self.log if words in self.log else ""

        return str(wait_for(found, f"{words!r} in the log"))

    def ready(self) -> None:
        """Wait until it answers."""
        try:
            assert self.manager.next(but="WATCHDOG") == "READY=1"
        except TimeoutError as exc:
            raise AssertionError(f"not ready; it said:\n{self.log}") from exc

    def signal(self, number: Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: Signals = SIGTERM, timeout_s: float = 60) -> int:
        """Ask it to end and return its exit code."""
        self.signal(number)
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.manager.socket.close()


class Asker:
    """The hub's side of commands and of the desired state, on a real broker."""

    def __init__(self, broker: Mosquitto, authority: TestAuthority) -> None:
        self.replies: queue.Queue[tuple[bytes, dict[str, Any]]] = queue.Queue()
        self.version = 0
        self._asked = 0
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="hub", protocol=paho.MQTTv5)
        self.client.tls_set_context(authority.context("hub"))
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe(topics.topic(DEVICE, Kind.REPLY, "r"), qos=1)
        self.client.connect("localhost", broker.port)
        self.client.loop_start()

    def ask(self, name: str, *, correlation: bytes = b"", **arguments: object) -> dict[str, Any]:
        """Send a command until it is answered (the agent may not be connected yet) and return the reply."""
        self._asked += 1
        wanted = correlation or f"q{self._asked}".encode()
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = topics.topic(DEVICE, Kind.REPLY, "r")
        properties.CorrelationData = wanted
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.client.publish(
                topics.topic(DEVICE, Kind.COMMAND, name), json.dumps(arguments), qos=1, properties=properties
            )
            try:
                while True:
                    found, reply = self.replies.get(timeout=3)
                    if found == wanted:
                        return reply
            except queue.Empty:
                continue
        raise AssertionError(f"command {name} was not answered")

    def desire(self, **wishes: Any) -> None:
        """Tell what the hub desires."""
        self.version += 1
        desired = Desired(incarnation="i", version=self.version, **wishes)
        self.client.publish(topics.topic(DEVICE, Kind.DESIRED), desired.dump(), qos=1, retain=True)

    def healthy(self) -> int:
        """Return the healthy predictions since the bundle was loaded."""
        return int(self.ask("status")["result"]["report"]["models"][MODEL]["healthy"])

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", b"")
        self.replies.put((correlation, json.loads(message.payload)))

"""All desks and their server as the agent holds them: without a bundle, with changed settings, and with clients that come and go."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import DIGEST, KeptRecords, session

from sprat_device.board.settings import InputSettings, ServeSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.ids import ModelName
from sprat_device.contract.records import Origin
from sprat_device.inference.loop import Loop
from sprat_device.inference.serve.inprocess import served
from sprat_device.inference.serve.serving import Serving

pytestmark = pytest.mark.integration
LOCAL = ServeSettings(listen="127.0.0.1:0", queue=2)
ASKED = InputSettings(model="tiny", kind="serve")
PUSHED = InputSettings(model="tiny", kind="http", name="door")
ORIGIN = Origin(ModelName("tiny"), 3, DIGEST)
ROW = b"[1, 2, 3]"


class Rig:
    """Desks with a server, and a loop that the test steps."""

    def __init__(self, *inputs: InputSettings, settings: ServeSettings = LOCAL) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.serving = Serving(
            settings, inputs, ManualClock(), event=lambda code, told: self.events.append((code, told))
        )
        self.serving.start()

    def load(self, wanted: InputSettings) -> Loop:
        loop = Loop(self.serving.source(wanted), KeptRecords(), ManualClock(), lambda *_told: None)
        loop.swap(session(), ORIGIN)
        self.serving.show(wanted, session(), ORIGIN)
        return loop

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, Any]:
        return ask(self.serving.address, path, body)


def ask(address: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    host, port = address.removeprefix("http://").split(":")
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.0\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(f"{head}Host: localhost\r\nContent-Length: {len(body or b'')}\r\n\r\n".encode() + (body or b""))
        came = b""
        while chunk := client.recv(65536):
            came += chunk
    return int(came.split(b" ", 2)[1]), json.loads(came.partition(b"\r\n\r\n")[2])


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(ASKED, PUSHED)
    yield made
    made.serving.stop()


def test_without_a_bundle_a_model_is_known_and_not_ready(rig: Rig) -> None:
    assert rig.ask("/readyz") == (503, {"ready": False, "without_bundle": ["tiny"]})
    host, port = rig.serving.address.removeprefix("http://").split(":")
    probe = http.client.HTTPConnection(host, int(port), timeout=60)
    probe.request("GET", "/readyz")
    assert probe.getresponse().headers["Retry-After"] == "1", "as every 503 says"
    probe.close()
    assert rig.ask("/healthz")[0] == 200
    status, told = rig.ask("/v1/models/tiny/predict", ROW)
    assert (status, told["error"]["reason"]) == (503, "no-bundle")
    assert rig.ask("/v1/models/tiny")[1]["ready"] is False
    rig.load(ASKED)
    assert rig.ask("/readyz")[0] == 503  # the other input has none yet
    rig.load(PUSHED)
    assert rig.ask("/readyz")[0] == 200


def test_who_waits_when_the_bundle_goes_is_told(rig: Rig) -> None:
    rig.load(ASKED)
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(rig.ask("/v1/models/tiny/predict", ROW)))
    waiting.start()
    while rig.ask("/v1/models")[1]["models"][0]["takes"][1]["waiting"] == 0:
        pass
    rig.serving.hide("tiny")
    waiting.join(60)
    assert (found[0][0], found[0][1]["error"]["reason"]) == (503, "no-bundle")


def test_a_push_is_taken_at_once_and_run_when_the_loop_comes_to_it(rig: Rig) -> None:
    loop = rig.load(PUSHED)
    assert rig.ask("/v1/models/tiny/readings", ROW) == (202, {"accepted": 1, "waiting": 1})
    assert rig.ask("/v1/models/tiny/readings?input=door", ROW)[0] == 202
    status, told = rig.ask("/v1/models/tiny/readings", ROW)
    assert (status, told["error"]["reason"]) == (503, "queue-full")
    assert [loop.step(0) for _ in range(3)] == [True, True, False]
    assert loop.healthy == 2
    rig.serving.keep()
    rig.serving.keep()
    assert rig.events == [("requests-refused", {"rows": 1, "queue": 2})]


def test_changed_settings_are_followed(rig: Rig, tmp_path: Path) -> None:
    rig.load(ASKED)
    before = rig.serving.address
    rig.serving.feed([ASKED])
    rig.serving.configure(LOCAL)
    assert rig.serving.address == before  # nothing of the server has changed
    assert rig.ask("/v1/models/tiny/readings", ROW)[1]["error"]["reason"] == "unknown-input"
    with pytest.raises(WrongUse, match="cannot be read"):
        rig.serving.configure(replace(LOCAL, token_file=str(tmp_path / "absent")))
    assert rig.ask("/v1/models")[0] == 200
    rig.serving.configure(replace(LOCAL, listen=f"unix:{tmp_path / 's'}"))
    assert rig.serving.address == ""
    rig.serving.keep()
    assert rig.serving.address == f"unix:{tmp_path / 's'}"
    rig.serving.feed([])
    rig.serving.keep()
    assert rig.serving.address == ""
    assert not (tmp_path / "s").exists()


def test_a_row_that_is_being_run_while_the_server_ends_ends_no_loop(rig: Rig) -> None:
    loop = Loop(rig.serving.source(ASKED), KeptRecords(), ManualClock(), lambda *_told: None)

    def run(inputs: Any) -> Any:
        rig.serving.configure(replace(LOCAL, queue=3))  # needs another server
        return {"y": inputs["x"]}

    model = session(run)
    loop.swap(model, ORIGIN)
    rig.serving.show(ASKED, model, ORIGIN)
    host, port = rig.serving.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        head = "POST /v1/models/tiny/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(ROW)}\r\n\r\n".encode() + ROW)
        assert loop.step(60)
        assert client.recv(1) == b"", "its server is gone"
    assert loop.healthy == 1
    rig.serving.keep()
    assert rig.ask("/healthz")[0] == 200


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".b"])
def test_a_name_that_no_host_can_have_is_said_and_stops_nothing(tmp_path: Path, host: str) -> None:
    token = tmp_path / "token"
    token.write_text("a" * 20)
    token.chmod(0o640)
    rig = Rig(settings=replace(LOCAL, listen=f"{host}:80", exposed=True, token_file=str(token)))
    rig.serving.feed([ASKED])
    rig.serving.keep()
    rig.serving.stop()
    ((code, told),) = rig.events
    assert code == "not-listening"
    assert f"{host}:80" in str(told["detail"])


def test_a_defect_of_a_model_is_told_to_who_started_it() -> None:
    def fail(_inputs: Any) -> Any:
        raise ZeroDivisionError

    ended = threading.Event()
    with served([(session(fail), 3)], replace(LOCAL, time_limit_s=0.2), on_defect=ended.set) as address:
        assert ask(address, "/v1/models/tiny/predict", ROW)[0] == 504
        assert ended.wait(60)


def test_clients_that_come_and_go_leave_nothing_behind() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    whole = b"POST /v1/models/tiny/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    whole += b"Content-Length: 9\r\n\r\n" + ROW
    threads = threading.active_count()
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted
    with served([(session(), 3)], LOCAL) as address:
        host, port = address.removeprefix("http://").split(":")
        opened = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(400):
            client = socket.create_connection((host, int(port)), timeout=60)
            client.sendall(whole[: chance.randrange(len(whole) + 1)] * chance.randrange(3))
            if chance.random() < 0.3:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ends by a reset
            client.close()
        assert ask(address, "/v1/models/tiny/predict", ROW)[0] == 200
        for _ in range(500):
            if len(os.listdir("/proc/self/fd")) <= opened:  # noqa: PTH208
                break
            ask(address, "/healthz")
        assert len(os.listdir("/proc/self/fd")) <= opened  # noqa: PTH208
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= files  # noqa: PTH208

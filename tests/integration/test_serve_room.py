"""What all requests hold together is bounded, whoever sends what, and comes back by whatever way a request ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.unit.device.inference.bundles import DIGEST, INPUT, KeptRecords, manifest, session

from sprat_device.board.clock import SystemClock
from sprat_device.board.settings import InputSettings, ServeSettings
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import Manifest
from sprat_device.contract.records import Origin
from sprat_device.inference.loop import Loop
from sprat_device.inference.serve.connection import Connection, Phase
from sprat_device.inference.serve.room import Room
from sprat_device.inference.serve.serving import Serving
from sprat_device.inference.serve.wire import Refusal, Response

pytestmark = pytest.mark.integration
WIDE = 1000
BODY = 4 * WIDE
"""Of one row."""
MOST = 5 * BODY
LOCAL = ServeSettings(listen="127.0.0.1:0", max_waiting_bytes=MOST, time_limit_s=0.5)
NONE = Baseline({}, {}, np.array([1, 1, 1]))
ASKED = InputSettings(model="tiny", kind="serve")
PUSHED = InputSettings(model="tiny", kind="http", name="door")


def _wide() -> Manifest:
    return manifest(inputs=(replace(INPUT, shape=(1, WIDE), features=()),))


class Rig:
    """A server whose loops the test steps."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.serving = Serving(LOCAL, (ASKED, PUSHED), SystemClock(), event=lambda *told: self.told.append(told))
        self.loops = [self._loop(wanted) for wanted in (ASKED, PUSHED)]
        self.serving.start()

    def _loop(self, wanted: InputSettings) -> Loop:
        made = session(lambda inputs: {"y": inputs["x"][:, :3]}, _wide(), baseline=NONE)
        origin = Origin(ModelName("tiny"), 3, DIGEST)
        loop = Loop(self.serving.source(wanted), KeptRecords(), SystemClock(), lambda *_told: None)
        loop.swap(made, origin)
        self.serving.show(wanted, made, origin)
        return loop

    def connect(self) -> socket.socket:
        host, port = self.serving.address.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=60)

    def post(self, client: socket.socket, path: str, size: int, sent: int, query: str = "") -> None:
        client.sendall(
            f"POST /v1/models/tiny/{path}{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
            "Content-Type: application/octet-stream\r\n\r\n".encode()
            + bytes(sent)
        )

    def answer(self, client: socket.socket) -> tuple[int, str, Any]:
        came = b""
        while b"\r\n\r\n" not in came or not came.endswith(b"\n"):
            chunk = client.recv(65536)
            assert chunk, came
            came += chunk
        head, _, body = came.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), head.decode(), json.loads(body)

    @property
    def held(self) -> int:
        room = self.serving._room
        return room._held - sum(list(room._given))


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.serving.stop()


def until(true: Callable[[], object]) -> None:
    end_s = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_bodies_that_arrive_slowly_are_bounded_together_and_leave_their_room_when_they_go(rig: Rig) -> None:
    with ExitStack() as opened:
        slow = [opened.enter_context(rig.connect()) for _ in range(5)]
        for client in slow:
            rig.post(client, "predict", BODY, BODY - 1)
        until(lambda: rig.held == MOST)
        late = opened.enter_context(rig.connect())
        rig.post(late, "predict", BODY, 0)
        status, head, told = rig.answer(late)
        assert (status, told["error"]["reason"]) == (503, "queue-full")
        assert "Retry-After: 1" in head
        assert "serve.max_waiting_bytes" in told["error"]["detail"]
        slow[0].close()
        slow[1].close()
        until(lambda: rig.held <= 3 * BODY)
        again = opened.enter_context(rig.connect())
        rig.post(again, "readings", BODY, BODY)
        assert rig.answer(again)[0] == 202
    rig.serving.keep()
    assert ("requests-refused", {"requests": 1, "max_waiting_bytes": MOST}) in rig.told


def test_rows_that_wait_are_counted_until_they_are_run_whoever_still_waits_for_them(rig: Rig) -> None:
    with rig.connect() as pushing, rig.connect() as asking:
        for _ in range(3):
            rig.post(pushing, "readings", BODY, BODY)
            assert rig.answer(pushing)[0] == 202
        until(lambda: rig.held == 3 * BODY)
        rig.post(asking, "predict", BODY, BODY)
        until(lambda: rig.held == 4 * BODY)
        assert rig.answer(asking)[0] == 504  # nobody steps its loop
        rig.post(pushing, "readings", 2 * BODY, 2 * BODY)
        assert rig.answer(pushing)[0] == 503
    for loop in rig.loops:
        while loop.step(0):
            pass
    until(lambda: rig.held == 0)


def test_rows_that_grow_as_arrays_are_counted_as_they_are(rig: Rig) -> None:
    with rig.connect() as client:
        rig.post(client, "readings", 6 * WIDE, 6 * WIDE, "?dtype=uint8")  # six rows of float32 made of bytes
        status, _, told = rig.answer(client)
        assert (status, told["error"]["reason"]) == (413, "too-large")
        assert f"at most {MOST} may wait" in told["error"]["detail"]


def test_an_answer_that_is_not_fetched_is_counted_until_it_is() -> None:
    ours, theirs = socket.socketpair()
    room = Room(10_000_000)
    with ours, theirs:
        connection = Connection(ours, LOCAL, room, 0.0)
        assert connection.respond(Response(200, bytes(5_000_000)), 0.0)
        with pytest.raises(Refusal) as refused:
            room.claim(6_000_000)
        assert refused.value.status == 503
        theirs.setblocking(False)
        while connection.phase is Phase.WRITING:
            theirs.recv(1_000_000)
            assert connection.send(0.0)
        room.claim(6_000_000)


def _step(loop: Loop, stopping: threading.Event) -> None:
    while not stopping.is_set():
        loop.step(0.05)


def test_a_thousand_requests_leave_nothing_claimed(rig: Rig) -> None:
    stepping = threading.Event()
    thread = threading.Thread(target=_step, args=(rig.loops[0], stepping), daemon=True)
    thread.start()
    chance = np.random.default_rng(1)
    for _ in range(200):
        with rig.connect() as client:
            for _ in range(5):
                rig.post(client, "predict", BODY, int(chance.integers(0, BODY)) if chance.random() < 0.2 else BODY)
                if chance.random() < 0.5:
                    break
    until(lambda: rig.held == 0)
    stepping.set()
    thread.join()

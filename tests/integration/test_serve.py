"""On demand over real sockets: answers, bounds, and clients that are slow, gone, many or not welcome."""

from __future__ import annotations

import http.client
import io
import json
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import ANY

import numpy as np
import pytest
from tests.unit.device.inference.bundles import DIGEST, INPUT, OUTPUT, KeptRecords, manifest, session

from sprat_device.board.settings import RuntimeSettings, ServeSettings
from sprat_device.board.settings.serve import require_guarded
from sprat_device.contract.errors import MachineLacks, WrongUse
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.serve.exchange import Exchange, Rows
from sprat_device.inference.serve.inprocess import served
from sprat_device.inference.serve.room import Room
from sprat_device.inference.serve.server import Server
from sprat_device.inference.serve.wire import Request, Response
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reply

pytestmark = pytest.mark.integration
LOCAL = ServeSettings(listen="127.0.0.1:0")
PREDICT = "/v1/models/tiny/predict"
ROW = b"[1, 2, 3]"
Answer = tuple[int, Mapping[str, str], Any]


def open_batch(function: Callable[[Any], Any]) -> Session:
    inputs, outputs = (replace(INPUT, shape=(-1, 3)),), (replace(OUTPUT, shape=(-1, 3)),)
    return session(function, manifest(inputs=inputs, outputs=outputs))


class Gate:
    """A model that runs only while its gate is open, and tells how many rows each run had."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.runs: list[int] = []
        self.entered = threading.Semaphore(0)

    def __call__(self, inputs: Any) -> Any:
        self.runs.append(len(inputs["x"]))
        self.entered.release()
        assert self.open.wait(60)
        return {"y": inputs["x"]}


class Client:
    """One keep-alive connection; the test's end closes it."""

    made: ClassVar[list[Client]] = []

    def __init__(self, address: str) -> None:
        self.made.append(self)
        self.connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)

    def ask(self, path: str = PREDICT, body: bytes | None = ROW, **headers: str) -> Answer:
        named = {"Content-Type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
        self.connection.request("GET" if body is None else "POST", path, body, named)
        response = self.connection.getresponse()
        raw = response.read()
        told = json.loads(raw) if response.headers["Content-Type"] == "application/json" else raw
        return response.status, response.headers, told

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask(path, None, **headers)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while Client.made:
        Client.made.pop().connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:

        def start(model: Session, settings: ServeSettings = LOCAL, **options: Any) -> str:
            return stack.enter_context(served([(model, 3)], settings, **options))

        yield start


def raw_socket(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def received(client: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    came = b""
    while chunk := client.recv(65536):
        came += chunk
    return came


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    found: list[Any] = [None] * count

    def run(place: int) -> None:
        found[place] = work(place)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found


def flood(client: socket.socket, *, pause_s: float) -> None:
    """Ask and ask and read nothing, until that fails."""
    while True:
        client.sendall(b"GET /v1/models/tiny HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(pause_s)


def until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def _waiting(client: Client) -> int:
    """Return how many rows wait for the only model."""
    (told,) = client.get("/v1/models")[2]["models"]
    count: int = told["takes"][0]["waiting"]
    return count


def test_a_prediction_says_what_answered_and_is_recorded(serve: Callable[..., str]) -> None:
    records = KeptRecords()
    client = Client(serve(session(), recorder=records))
    status, headers, told = client.ask()
    assert (status, headers["Connection"]) == (200, "keep-alive")
    assert told.pop("latency_us") > 0
    assert told == {
        "model": "tiny", "bundle": DIGEST, "release_seq": 3, "label": 2, "name": "high", "scores": [1.0, 2.0, 3.0]
    }  # fmt: skip
    ((origin, prediction),) = records.predictions
    assert (origin.release_seq, prediction.index, prediction.label) == (3, 0, 2)


def test_several_rows_are_answered_each_and_a_bad_one_says_why(serve: Callable[..., str]) -> None:
    client = Client(serve(session()))
    status, _, told = client.ask(body=b"[[1, 2, 3], [1e9, 0, 0], [3, 2, 1]]")
    assert status == 200
    first, bad, last = told["predictions"]
    assert (first["name"], last["name"]) == ("high", "low")
    assert bad["error"]["reason"] == "input-range"
    assert "from 0 to 1e+09, expected finite float32 [3], about 0 to 10" in bad["error"]["detail"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"[1, 2]", "input-shape"), (b"[1, NaN, 3]", "input-non-finite"), (b'{"a": 1}', "input-missing"),
     (b'"text"', "input-shape"), (b"[[1, 2, 300], [9e9, 1, 1]]", "input-range")],
)  # fmt: skip
def test_a_bad_input_is_422_with_its_reason_code(serve: Callable[..., str], body: bytes, reason: str) -> None:
    status, _, told = Client(serve(session())).ask(body=body)
    assert (status, told["error"]["reason"]) == (422, reason)
    assert "\n" not in told["error"]["detail"]


def test_raw_tensors_go_in_and_out(serve: Callable[..., str]) -> None:
    client = Client(serve(session()))
    rows = np.array([[1, 2, 3], [6, 5, 4]], "<f4")
    raw = {"Content_Type": "application/octet-stream", "Accept": "application/octet-stream"}
    status, headers, answer = client.ask(body=rows.tobytes(), **raw)
    assert (status, headers["Sprat-Shape"], headers["Sprat-Labels"]) == (200, "2,3", "2,0")
    assert (headers["Sprat-Bundle"], headers["Sprat-Release"]) == (DIGEST, "3")
    assert np.array_equal(np.frombuffer(answer, "<f4").reshape(2, 3), rows)
    held = io.BytesIO()
    np.savez(held, x=rows)
    status, _, told = client.ask(body=held.getvalue(), Content_Type="application/x-npz")
    assert (status, len(told["predictions"])) == (200, 2)


def test_models_are_listed_and_described(serve: Callable[..., str]) -> None:
    client = Client(serve(session()))
    (listed,) = client.get("/v1/models")[2]["models"]
    assert (listed["model"], listed["ready"], listed["bundle"]) == ("tiny", True, DIGEST)
    told = client.get("/v1/models/tiny")[2]
    assert told["labels"] == ["low", "middle", "high"]
    assert told["inputs"][0] | {"dtype": "float32", "shape": [3], "features": ["a", "b", "c"]} == told["inputs"][0]
    assert client.get("/healthz")[2]["ok"] is True
    assert client.get("/readyz")[:3:2] == (200, {"ready": True, "without_bundle": []})


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/v1/models/tinny/predict", ROW, 404, "unknown-model"),
        ("/v1/models/tiny/readings", ROW, 404, "unknown-input"),
        ("/v1/models/tiny/predict?input=door", ROW, 404, "unknown-input"),
        ("/v1/models/tiny/forget", ROW, 404, "unknown-path"),
        (PREDICT, None, 405, "bad-request"),
        ("/v1/models", ROW, 405, "bad-request"),
        (PREDICT, b"{", 400, "bad-request"),
    ],
)
def test_other_requests_are_refused_and_the_connection_goes_on(
    serve: Callable[..., str], path: str, body: bytes | None, status: int, reason: str
) -> None:
    client = Client(serve(session()))
    found, headers, told = client.ask(path, body)
    assert (found, told["error"]["reason"]) == (status, reason)
    assert ("Allow" in headers) is (status == 405)
    assert client.ask()[0] == 200


def test_a_failing_model_is_500(serve: Callable[..., str]) -> None:
    def fail(_inputs: Any) -> Any:
        raise RunFailed("onnx failed while running: no luck")

    status, _, told = Client(serve(session(fail))).ask()
    assert (status, told["error"]) == (500, {"reason": "run-failed", "detail": "onnx failed while running: no luck"})


def test_answers_of_which_no_response_can_be_made_end_no_service() -> None:
    def fail(_replies: object) -> Response:
        raise ValueError("rows of two bundles, of different widths")

    def app(_request: Request) -> Exchange:
        exchange = Exchange(Rows([{}]), fail)
        exchange.done = server.finished
        exchange.take(0, Reply("", 0))
        return exchange

    server = Server(LOCAL, app, Room(LOCAL.max_waiting_bytes))
    server.start()
    client = Client(server.address)
    for _ in range(2):
        assert client.ask()[::2] == (500, {"error": {"reason": "defect", "detail": ANY}})
    assert server.alive
    server.stop()


def test_requests_that_wait_are_run_at_once(serve: Callable[..., str]) -> None:
    gate = Gate()
    address = serve(open_batch(gate))
    clients = [Client(address) for _ in range(9)]
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(clients[0].ask()[0]))
    first.start()
    assert gate.entered.acquire(timeout=60)  # the first request runs; the others gather behind it
    others = threading.Thread(target=lambda: answers.extend(together(8, lambda place: clients[place + 1].ask()[0])))
    others.start()
    watch = Client(address)
    until(lambda: _waiting(watch) == 8)
    gate.open.set()
    first.join(60)
    others.join(60)
    assert answers == [200] * 9
    assert gate.runs == [1, 8]


def test_a_flood_against_a_small_queue_is_answered_or_told_to_come_again(serve: Callable[..., str]) -> None:
    gate = Gate()
    address = serve(session(gate), replace(LOCAL, queue=4, connections=300))

    def ask(_place: int) -> tuple[int, str | None]:
        status, headers, _ = Client(address).ask()
        if status == 503:  # it is full
            gate.open.set()
        return status, headers["Retry-After"]

    found = together(200, ask)
    assert set(found) == {(200, None), (503, "1")}
    assert 5 <= found.count((200, None)) < 200  # one runs and four wait; more where the queue emptied in between
    assert sum(gate.runs) == found.count((200, None))
    assert Client(address).ask()[0] == 200


def test_more_connections_than_allowed_are_told_so_unless_one_is_idle(serve: Callable[..., str]) -> None:
    gate = Gate()
    address = serve(session(gate), replace(LOCAL, connections=1))
    idle, answers = Client(address), list[int]()
    assert idle.get("/healthz")[0] == 200
    busy = threading.Thread(target=lambda: answers.append(Client(address).ask()[0]))
    busy.start()
    assert gate.entered.acquire(timeout=60)  # it has taken the place of the idle one
    with raw_socket(address) as refused:
        assert received(refused).startswith(b"HTTP/1.1 503 ")
    gate.open.set()
    busy.join(60)
    assert answers == [200]


def test_a_client_that_asks_while_it_is_refused_reads_why(serve: Callable[..., str], tmp_path: Path) -> None:
    gate = Gate()
    path = str(tmp_path / "s")
    serve(session(gate), replace(LOCAL, listen=f"unix:{path}", connections=1))
    head = b"POST /v1/models/tiny/predict HTTP/1.1\r\nHost: any\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as opened:
        busy.connect(path)
        busy.sendall(head + ROW)
        assert gate.entered.acquire(timeout=60)
        for _ in range(3):
            late = opened.enter_context(socket.socket(socket.AF_UNIX))
            late.settimeout(60)
            late.connect(path)
            assert select.select([late], [], [], 60)[0], "it is answered already"
            late.sendall(head + ROW)
            told = received(late)
            assert told.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in told
        gate.open.set()
        busy.settimeout(60)
        assert busy.recv(65536).startswith(b"HTTP/1.1 200 ")
        busy.close()
        with socket.socket(socket.AF_UNIX) as next_one:
            next_one.settimeout(60)
            next_one.connect(path)
            next_one.sendall(head + ROW)
            assert next_one.recv(65536).startswith(b"HTTP/1.1 200 "), "those who were refused hold no place"


def test_clients_that_were_refused_and_stay_are_bounded_too(serve: Callable[..., str]) -> None:
    address = serve(session(), replace(LOCAL, connections=2))
    opened = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted
    with ExitStack() as held:
        for _ in range(60):
            client = held.enter_context(raw_socket(address))
            client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
            assert client.recv(65536).startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 503 "))
        # Its own ends: two connections, sixteen that leave, and the last one, which may not be closed yet.
        assert len(os.listdir("/proc/self/fd")) - opened - 60 <= 2 + 16 + 1  # noqa: PTH208
    until(lambda: Client(address).get("/healthz")[0] == 200)


def test_an_answer_that_takes_too_long_is_504_and_its_row_is_left_out(serve: Callable[..., str]) -> None:
    gate, records = Gate(), KeptRecords()
    address = serve(session(gate), replace(LOCAL, time_limit_s=2.0), recorder=records)
    found = together(2, lambda _place: Client(address).ask())
    assert {(status, told["error"]["reason"]) for status, _, told in found} == {(504, "too-slow")}
    gate.open.set()
    assert Client(address).ask()[0] == 200
    assert gate.runs == [1, 1]  # the first one was under way, the second was not begun any more


def test_a_client_that_leaves_is_not_predicted_for(serve: Callable[..., str]) -> None:
    gate = Gate()
    address = serve(session(gate))
    first = threading.Thread(target=Client(address).ask)
    first.start()
    assert gate.entered.acquire(timeout=60)
    watch = Client(address)
    with raw_socket(address) as leaving:
        head = (
            f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        )
        leaving.sendall(head.encode() + ROW)
        until(lambda: _waiting(watch) == 1)
    until(lambda: _waiting(watch) == 0)
    gate.open.set()
    first.join(60)
    assert watch.ask()[0] == 200
    assert gate.runs == [1, 1]


def test_a_slow_client_is_given_up_and_keeps_nobody_waiting(serve: Callable[..., str]) -> None:
    address = serve(session(), replace(LOCAL, request_s=3.0))
    with raw_socket(address) as slow:
        slow.sendall(b"POST ")
        for byte in b"/v1/models":
            slow.sendall(bytes([byte]))
            assert Client(address).ask()[0] == 200
        came = received(slow)
    assert came.startswith(b"HTTP/1.1 408 ")
    assert b"no whole request within 3 s" in came


def test_a_body_that_never_comes_is_given_up_too(serve: Callable[..., str]) -> None:
    address = serve(session(), replace(LOCAL, request_s=0.3))
    with raw_socket(address) as slow:
        slow.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n[1,".encode())
        assert received(slow).startswith(b"HTTP/1.1 408 ")


def test_a_body_too_big_is_refused_before_it_is_read(serve: Callable[..., str]) -> None:
    address = serve(session(), replace(LOCAL, max_body_bytes=1000))
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n"
    with raw_socket(address) as patient:
        patient.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert received(patient).startswith(b"HTTP/1.1 413 ")
    with raw_socket(address) as eager:
        # It sends on regardless; the answer must not be lost for that.
        eager.sendall(f"{head}\r\n".encode() + b"0" * 30_000_000)
        assert eager.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert Client(address).ask(body=b"[[1, 2, 3]" + b" " * 989 + b"]")[0] == 200


def test_json_is_bounded_more_tightly_than_bytes(serve: Callable[..., str]) -> None:
    client = Client(serve(session(), replace(LOCAL, max_json_bytes=100)))
    status, _, told = client.ask(body=b"[1, 2, 3" + b" " * 100 + b"]")
    assert (status, told["error"]["reason"]) == (413, "too-large")
    assert "send the bare bytes" in told["error"]["detail"]
    raw = np.ones((20, 3), "<f4").tobytes()
    assert client.ask(body=raw, Content_Type="application/octet-stream")[0] == 200


def test_a_client_that_expects_a_word_first_gets_it(serve: Callable[..., str]) -> None:
    with raw_socket(serve(session())) as client:
        client.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
            "Connection: close\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(ROW)
        assert received(client).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_reads_no_answer_is_given_up(serve: Callable[..., str]) -> None:
    address = serve(session(), replace(LOCAL, request_s=0.5, idle_s=30))
    with raw_socket(address) as deaf:
        deaf.settimeout(0.2)
        with pytest.raises((TimeoutError, ConnectionError)):
            flood(deaf, pause_s=0)  # what it does not read fills the socket; then nothing more is taken from it
        assert Client(address).ask()[0] == 200
        deaf.settimeout(60)
        with pytest.raises(ConnectionError):
            flood(deaf, pause_s=0.05)
    assert Client(address).ask()[0] == 200


def test_requests_sent_ahead_are_answered_in_order(serve: Callable[..., str]) -> None:
    one = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
    with raw_socket(serve(session())) as client:
        client.sendall(
            one.encode() + b"\r\n[1, 2, 3]" + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            + one.encode() + b"Connection: close\r\n\r\n[3, 2, 1]"
        )  # fmt: skip
        came = received(client).decode()
    assert [came.index(mark) for mark in ('"high"', '"agent"', '"low"')] == sorted(
        came.index(mark) for mark in ('"high"', '"agent"', '"low"')
    )
    assert came.count("HTTP/1.1 200 OK") == 3


def test_no_web_page_gets_an_answer(serve: Callable[..., str]) -> None:
    client = Client(serve(session()))
    assert client.ask(Host="rebound.example:8178")[0] == 421
    assert client.ask(Origin="http://localhost")[0] == 403
    assert [client.ask(Host=host)[0] for host in ("localhost:1", "[::1]:1", "127.0.0.1", "LOCALHOST.")] == [200] * 4


def test_a_token_opens_what_is_exposed(serve: Callable[..., str], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-24-characters\n")
    token.chmod(0o640)
    exposed = replace(LOCAL, listen="0.0.0.0:0", exposed=True, token_file=str(token))
    require_guarded(exposed, {})
    client = Client(serve(session(), exposed).replace("0.0.0.0", "127.0.0.1"))  # noqa: S104
    assert client.ask(Host="board.local:8178")[0] == 401
    assert client.ask(Authorization="Bearer a-token-of-24-characterz")[0] == 401
    assert client.ask(Authorization="Bearer a-token-of-24-characters", Host="board.local")[0] == 200
    assert client.get("/healthz")[0] == 200
    for settings, told in (
        (replace(exposed, token_file=""), "without a token"),
        (replace(exposed, exposed=False), "reach"),
    ):
        with pytest.raises(WrongUse, match=told):
            require_guarded(settings, {"serve.listen": "sprat.toml:3"})


@pytest.mark.parametrize(("text", "mode", "told"), [("short", 0o640, "at least 16"), ("a" * 20, 0o644, "chmod 640")])
def test_a_token_that_is_no_good_is_refused(tmp_path: Path, text: str, mode: int, told: str) -> None:
    token = tmp_path / "token"
    token.write_text(text)
    token.chmod(mode)
    with pytest.raises(WrongUse, match=told), served([(session(), 0)], replace(LOCAL, token_file=str(token))):
        pass


def test_a_unix_socket_has_its_own_permissions_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "serve.sock"
    settings = replace(LOCAL, listen=f"unix:{path}", unix_mode=0o620)
    for _ in range(2):
        with served([(session(), 3)], settings) as address:
            assert address == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o620
            with pytest.raises(MachineLacks, match="another program listens"), served([(session(), 3)], settings):
                pass
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert received(client).startswith(b"HTTP/1.1 200 OK")
        assert not path.exists()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with served([(session(), 3)], settings):
        pass
    path.write_text("somebody's file")
    with pytest.raises(MachineLacks, match="no socket"), served([(session(), 3)], settings):
        pass


def test_an_address_that_is_taken_is_said(serve: Callable[..., str]) -> None:
    taken = serve(session()).removeprefix("http://")
    with pytest.raises(MachineLacks, match="in use"), served([(session(), 3)], replace(LOCAL, listen=taken)):
        pass


def test_an_answer_that_was_known_says_so(serve: Callable[..., str]) -> None:
    client = Client(serve(session(), runtime=RuntimeSettings(cache_entries=4)))
    assert ["cached" in client.ask()[2] for _ in range(2)] == [False, True]

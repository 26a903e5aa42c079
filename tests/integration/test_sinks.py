"""Outputs over real parts: a broker, an HTTP server, programs, a plug-in, a full disk."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.brokers import Mosquitto, make_plain_broker
from tests.unit.device.inference.bundles import DIGEST, session

from sprat_device.board.settings import OutputSettings
from sprat_device.contract.ids import ModelName
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.sinks import Outlets
from sprat_device.inference.sinks import outlet as outlets
from sprat_device.inference.sinks.command import Hook
from sprat_device.inference.sinks.told import Told
from sprat_device.inference.sources.reading import Reading

pytestmark = pytest.mark.integration
SESSION = session()
ORIGIN = Origin(ModelName("tiny"), 3, DIGEST)
_MOST_S = 20


class Output:
    """One output, fed by hand."""

    def __init__(self, **given: Any) -> None:
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self._index = 0
        self.outlets = Outlets(
            [replace(OutputSettings(), **given)], lambda code, detail: self.told.append((code, detail))
        )

    def predict(self, label: int = 2) -> int:
        outputs = np.full(3, 0.05, np.float32)
        outputs[label] = 0.9
        found = Prediction(self._index, 0, 1_760_000_000_000_000, label, outputs, 1)
        self.outlets.answered(SESSION, ORIGIN, Reading(self._index, 0, 0, {}), found)
        self._index += 1
        return self._index - 1

    def until(self, code: str) -> Mapping[str, object]:
        wait_until(lambda: any(told == code for told, _detail in self.told))
        return next(detail for told, detail in self.told if told == code)


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + _MOST_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def output() -> Iterator[Callable[..., Output]]:
    made: list[Output] = []

    def make(**given: Any) -> Output:
        made.append(Output(**given))
        return made[-1]

    yield make
    for one in made:
        one.outlets.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "_LEAST_S", 0.02)
    monkeypatch.setattr(outlets, "_MOST_S", 0.1)


# A broker of the site


class Listener:
    def __init__(self, broker: Mosquitto) -> None:
        self.heard: list[tuple[str, Any]] = []
        self._subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _c, _u, m: self.heard.append((m.topic, json.loads(m.payload)["index"]))
        self.client.on_connect = lambda client, *_: client.subscribe("home/#", 1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self._subscribed.wait(_MOST_S)


def test_predictions_reach_a_local_topic_over_a_broker_that_dies(tmp_path: Path, output: Callable[..., Output]) -> None:
    broker = make_plain_broker(tmp_path)
    told = output(kind="mqtt", port=broker.port, topic="home/{model}/{label}", qos=1)
    first = told.predict()
    told.until("sink-failed")  # the broker is not there yet; the prediction waits
    broker.start()
    listener = Listener(broker)
    told.predict(0)
    wait_until(lambda: ("home/tiny/low", 1) in listener.heard)
    broker.kill()
    listener.client.loop_stop()
    third = told.predict()
    wait_until(lambda: [code for code, _detail in told.told].count("sink-failed") == 2)
    broker.start()
    again = Listener(broker)
    told.predict(1)
    wait_until(lambda: ("home/tiny/middle", 3) in again.heard)
    assert [code for code, _detail in told.told].count("sink-failed") == 2
    assert (first, third) == (0, 2)
    again.client.disconnect()
    again.client.loop_stop()
    broker.kill()


# An address


class Hooked(ThreadingHTTPServer):
    """Answers as the script says, and keeps what was posted."""

    def __init__(self, script: list[int]) -> None:
        self.script = script
        self.posted: list[tuple[str, str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Answering)


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Hooked)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = server.script.pop(0) if server.script else 204
        if status < 300:
            server.posted.append((self.path, self.headers["X-Site"], body["index"]))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_webhook_is_posted_to_again_after_trouble_and_not_after_a_refusal(output: Callable[..., Output]) -> None:
    server = Hooked([204, 503, 500, 200, 404])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told = output(
        kind="webhook", url=f"http://127.0.0.1:{server.server_port}/hook?a=1", headers={"X-Site": "barn"}, name="barn"
    )
    for _ in range(4):
        told.predict()
    wait_until(lambda: len(server.posted) == 3)
    assert server.posted == [("/hook?a=1", "barn", index) for index in (0, 1, 3)]
    told.outlets.close()
    assert [code for code, _detail in told.told] == ["sink-failed", "sink-back", "sink-refused"]
    assert "answered 503" in str(told.told[0][1]["detail"])
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer_that_comes_byte_by_byte_does_not_hold_the_output(output: Callable[..., Output]) -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            while not ended.is_set():
                client, _ = server.accept()
                with client, contextlib.suppress(OSError):
                    client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    while not ended.wait(0.02):
                        client.sendall(b"a")

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        told = output(kind="webhook", url=f"http://127.0.0.1:{server.getsockname()[1]}/", timeout_s=0.3)
        told.predict()
        assert "timed out" in str(told.until("sink-failed")["detail"])
        ended.set()


# A program


def program(*lines: str) -> tuple[str, ...]:
    return sys.executable, "-c", "\n".join(("import json, sys, time", *lines))


def test_a_program_gets_the_prediction_as_arguments_and_on_its_stdin(
    tmp_path: Path, output: Callable[..., Output]
) -> None:
    done = tmp_path / "done"
    write = f"open({str(done)!r}, 'a').write(json.dumps([sys.argv[1:], json.load(sys.stdin)['index']]) + '\\n')"
    told = output(kind="command", command=(*program(write), "{label}; rm -rf /", "{confidence}"), on="change")
    for label in (0, 0, 2):
        told.predict(label)
    wait_until(lambda: done.exists() and len(done.read_text().splitlines()) == 2)
    found = [json.loads(line) for line in done.read_text().splitlines()]
    assert found == [[["low; rm -rf /", "0.9"], 0], [["high; rm -rf /", "0.9"], 2]]


def test_a_program_that_hangs_is_killed_and_one_that_fails_is_not_run_twice(
    tmp_path: Path, output: Callable[..., Output], caplog: pytest.LogCaptureFixture
) -> None:
    runs = tmp_path / "runs"
    # A shell starts at once where a Python may take a second on a busy machine.
    behave = (
        f"printf x >>{runs}; read -r line; "
        'case "$line" in *\'"index": 0,\'*) sleep 600;; *) echo no relay here >&2; exit 1;; esac'
    )
    told = output(kind="command", command=("/bin/sh", "-c", behave), timeout_s=2.0, most_hz=100.0)
    told.predict()
    told.predict()
    wait_until(lambda: len([r for r in caplog.records if r.name == "sprat.sink"]) == 2)
    told.outlets.close()
    said = [record.message for record in caplog.records if record.name == "sprat.sink"]
    assert "took longer than 2 s and was killed" in said[0]
    assert "ended with 1: no relay here" in said[1]
    assert runs.read_text() == "xx"
    assert sum(int(str(detail["refused"])) for code, detail in told.told if code == "sink-refused") == 2


def test_a_program_that_does_not_exist_is_told(output: Callable[..., Output]) -> None:
    told = output(kind="command", command=("/nowhere/relay",), on="change")
    told.predict()
    assert told.until("sink-failed")["detail"] == "/nowhere/relay: No such file or directory"


def test_what_a_program_says_is_not_kept_without_end(tmp_path: Path, output: Callable[..., Output]) -> None:
    done = tmp_path / "done"
    chatter = f"echo no relay here >&2; head -c 200000000 /dev/zero >&2; cat >{done}; exit 1"
    told = output(kind="command", command=("/bin/sh", "-c", chatter), timeout_s=20.0, most_hz=100.0)
    before = _most_kib()
    told.predict()
    wait_until(lambda: done.exists() and done.read_text().endswith("}\n"))
    told.outlets.close()
    assert _most_kib() - before < 100_000
    assert told.until("sink-refused")["refused"] == 1


def _most_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_program_that_leaves_another_behind_is_done_when_it_has_ended(
    tmp_path: Path, output: Callable[..., Output], caplog: pytest.LogCaptureFixture
) -> None:
    runs, left = tmp_path / "runs", tmp_path / "left"
    leave = f"sleep 600 & echo $! >>{left}; printf x >>{runs}"
    told = output(kind="command", command=("/bin/sh", "-c", leave), timeout_s=600.0, most_hz=100.0)
    told.predict()
    told.predict()
    wait_until(lambda: runs.exists() and runs.read_text() == "xx")
    told.outlets.close()
    assert not [record for record in caplog.records if record.name == "sprat.sink"]
    wait_until(
        lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and _runs(pid) for pid in left.read_text().split())
    )


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_long_prediction_reaches_a_program_that_reads_late_and_one_that_never_reads(
    tmp_path: Path,
) -> None:
    told_size, done = 300_000, tmp_path / "done"
    late = f"sleep 0.2; wc -c >{done}"
    hook = Hook(("/bin/sh", "-c", late), timeout_s=20.0)
    prediction = Prediction(0, 0, 0, 1, np.zeros(told_size // 5, np.float32), 1)
    hook.give(Told(ORIGIN, prediction, "high", None, scores=True))
    assert int(done.read_text()) > told_size - 10_000
    Hook(("/bin/sh", "-c", "exit 0"), timeout_s=20.0).give(Told(ORIGIN, prediction, "high", None, scores=True))


# A plug-in, and a disk


@pytest.mark.parametrize("error", ["KeyError", "CancelledError"])
def test_a_plug_in_that_raises_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: Callable[..., Output], error: str
) -> None:
    monkeypatch.delitem(sys.modules, "lamps", raising=False)
    (tmp_path / "lamps.py").write_text(
        "from asyncio import CancelledError\n"
        "heard, made = [], []\n"
        "class Lamp:\n"
        "    def __init__(self, options): made.append(options)\n"
        "    def give(self, document):\n"
        f"        if len(made) < 2: raise {error}('bulb')\n"
        "        heard.append(document['label'])\n"
        "    def close(self): raise RuntimeError('stuck')\n"
    )
    about = tmp_path / "lamps-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lamps\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sprat.sinks]\nlamp = lamps:Lamp\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    told = output(kind="plugin", plugin="lamp", options={"pin": 17})
    told.predict(2)
    told.until("sink-back")
    import lamps  # type: ignore[import-not-found]

    assert lamps.heard == ["high"]
    assert lamps.made == [{"pin": 17}] * 2
    assert (
        told.told[0][1]["detail"] == f"plug-in lamp: {error}: {'bulb' if error == 'CancelledError' else repr('bulb')}"
    )
    assert told.outlets.dead() == []


def test_a_full_disk_is_told_and_costs_nothing_else(output: Callable[..., Output]) -> None:
    told = output(kind="file", path="/dev/full")
    told.predict()
    assert "space" in str(told.until("sink-failed")["detail"])
    assert told.outlets.dead() == []

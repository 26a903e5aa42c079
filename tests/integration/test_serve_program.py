"""`sprat-device serve` as a process of its own, with a real runtime, and every curl line of docs/serving.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.unit.device.inference import bundles

from sprat_device.board.files import OsFiles
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.ids import Digest
from sprat_device.contract.manifest import TensorSpec, Tolerance
from sprat_device.contract.twin import Installed
from sprat_device.install.slots import Pair, Slots

pytestmark = pytest.mark.integration
DOCS = Path(__file__).parents[2] / "docs" / "serving.md"
WRITTEN = "http://127.0.0.1:8178"


def graph() -> bytes:
    """Return a graph of open batch that gives back its three inputs."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 3]) for name in ("x", "y")]
    made = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", values[:1], values[1:])
    model: bytes = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    ).SerializeToString()
    onnx.checker.check_model(model)
    return model


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    inputs = TensorSpec("x", "float32", (-1, 3), minimum=0.0, maximum=10.0, features=("a", "b", "c"))
    outputs = TensorSpec("y", "float32", (-1, 3), meaning="probabilities")
    rows = np.ones((1, 3), np.float32)
    return bundles.write(
        tmp_path / "tiny.sprat",
        bundles.manifest(inputs=(inputs,), outputs=(outputs,)),
        graph(),
        GoldenSet({"x": rows}, {"onnx": {"y": rows}}),
        tolerance=Tolerance("absolute", 1e-6),
    )


@contextmanager
def program(*arguments: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run the program and give what it says of itself; end it if it is still there."""
    command = [sys.executable, "-m", "sprat_device", "serve", *map(str, arguments), "--json"]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    with running:
        try:
            line = running.stdout.readline() if running.stdout else ""
            assert line, running.communicate()[1]
            yield running, json.loads(line)
        finally:
            running.kill()


def examples() -> list[str]:
    """Return the lines of the page's shell blocks that ask or make what is asked with."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if "curl" in line or line.startswith("python3 -c")]


def test_every_example_of_the_page_is_answered(bundle: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.fail("no curl; apt install curl") if os.environ.get("CI") else pytest.skip("no curl")
    lines = examples()
    assert len(lines) == 12
    answers: dict[str, str] = {}
    with program(bundle, "--listen", "127.0.0.1:0") as (_, said):
        for line in lines:
            command = line.replace(WRITTEN, said["address"]).replace("python3", sys.executable)
            done = subprocess.run(
                ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
            )
            answers[line] = done.stdout
    told = {line: json.loads(answer) for line, answer in answers.items() if answer}
    assert not any("error" in answer for answer in told.values())
    one = [answer for answer in told.values() if "label" in answer]
    assert [(answer["name"], answer["scores"]) for answer in one] == [("high", [1.0, 2.0, 3.0])] * 4
    several = [answer["predictions"] for answer in told.values() if "predictions" in answer]
    assert [["error" in row for row in rows] for rows in several] == [[False, True], [False, False]]
    assert np.fromfile(tmp_path / "answer.f32", "<f4").tolist() == [1, 2, 3]
    listed = [answer["models"][0]["model"] for answer in told.values() if "models" in answer]
    assert listed == ["tiny"]


def test_it_ends_cleanly_by_sigterm(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "serve.sock"
    with program(bundle, "--listen", f"unix:{path}", SPRAT_SERVE_UNIX_MODE="0600") as (running, said):
        assert said == {"address": f"unix:{path}", "models": ["tiny"]}
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: any\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0
            assert client.recv(65536) == b""
    assert not path.exists()


def test_a_state_folder_is_served_by_its_settings(bundle: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    slots = Slots(OsFiles(), state)
    state.mkdir()
    slots.prepare()
    digest = bundles.sha(bundle.read_bytes())
    bundle.rename(slots.path(digest))
    slots.store("tiny", Pair(Installed(digest, 7), None))
    (state / "sprat.toml").write_text('[serve]\nlisten = "127.0.0.1:0"\n')
    with program("--state", state) as (_, said):
        host, port = said["address"].removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            (told,) = json.loads(client.recv(65536).partition(b"\r\n\r\n")[2])["models"]
    assert (told["model"], told["bundle"], told["release_seq"]) == ("tiny", digest, 7)
    slots.path(digest).rename(slots.path("0" * 64))  # whole, but not what was verified under that name
    slots.store("tiny", Pair(Installed(Digest("0" * 64), 7), None))
    done = subprocess.run(
        [sys.executable, "-m", "sprat_device", "serve", "--state", str(state)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert f"hash-mismatch: {'0' * 64}.sprat has SHA-256 {digest[:12]}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "expected one of them"),
        (["absent.sprat"], 2, "absent.sprat: cannot be read"),
        (["--state", "."], 2, "no model has an installed bundle"),
        (["BUNDLE", "BUNDLE", "--listen", "127.0.0.1:0"], 2, "'tiny' has several bundles"),
        (["absent.sprat", "--listen", "0.0.0.0:1"], 2, "reachable from other machines"),
        (["absent.sprat", "--listen", "nowhere"], 2, "HOST:PORT"),
        (["BUNDLE", "--listen", "192.0.2.1:1", "--exposed", "--token-file", "token"], 4, "cannot listen there"),
    ],
)
def test_what_is_wrong_is_one_line(bundle: Path, tmp_path: Path, arguments: list[str], code: int, told: str) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-24-characters")
    token.chmod(0o600)
    named = [str(bundle) if one == "BUNDLE" else one for one in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "sprat_device", "serve", *named],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_agent_that_serves_nothing_does_not_pay_for_it() -> None:
    code = (
        "import sys, sprat_device.daemon; print([m for m in sys.modules if m.endswith(('serve.server', 'serve.wire'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"

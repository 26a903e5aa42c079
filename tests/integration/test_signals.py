"""Signals that come at a bad moment: before the agent is there, while it gives way to itself, hundreds of them, in a lock."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.brokers import TestAuthority
from tests.daemons import Agent, Start, make_state, settings, softmax, wait_for
from tests.unit.device.inference import bundles

from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.manifest import Tolerance

pytestmark = pytest.mark.integration
_BEGIN = """
import os, signal, subprocess, sys
from pathlib import Path
from sprat_device import daemon
from sprat_device.agent import Agent, Ending
"""
_EARLY = (
    _BEGIN
    + """
composed = daemon._compose

def compose(*given, **named):
    os.kill(os.getpid(), signal.{0})
    return composed(*given, **named)

daemon._compose = compose
sys.exit(daemon.run(Path(sys.argv[1])))
"""
)
_ANEW = (
    _BEGIN
    + """
class Os:
    def __getattr__(self, name): return getattr(os, name)
    def execv(self, *given):
        os.environ["BEGUN"] = "yes"
        storm = f"for i in $(seq 100); do kill -HUP {os.getpid()}; sleep 0.005; done"
        subprocess.Popen(["/bin/sh", "-c", storm], start_new_session=True)
        os.execv(*given)

if "BEGUN" not in os.environ:
    Agent.run = lambda self, stopped: Ending.RESTART
    daemon.os = Os()
sys.exit(daemon.run(Path(sys.argv[1])))
"""
)
_LOCKED = """
import signal, sys, threading
from sprat_device import serve
waited = threading.Condition.wait

def wait(self, timeout=None):
    if sys._getframe(2).f_code.co_filename == serve.__file__:
        signal.raise_signal(signal.SIGTERM)  # while the lock of what is waited for is held
    return waited(self, timeout)

threading.Condition.wait = wait
sys.exit(serve.main([sys.argv[1], "--listen", "127.0.0.1:0"]))
"""


@pytest.fixture
def state(tmp_path: Path, authority: TestAuthority) -> Path:
    """Return the state of a device whose broker is not there."""
    return make_state(tmp_path / "state", authority, 1)


def _runs(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((state / "runs.json").read_bytes())
    return found


def test_a_reload_asked_for_before_the_agent_is_there_is_not_its_end(state: Path, start: Start) -> None:
    agent = start(state, script=_EARLY.format("SIGHUP"))
    agent.ready()
    assert agent.end() == 0


def test_an_end_asked_for_before_the_agent_is_there_is_a_clean_one(state: Path, start: Start) -> None:
    assert start(state, script=_EARLY.format("SIGTERM")).process.wait(60) == 0
    assert _runs(state)["end"] == "clean"


def test_a_reload_asked_for_while_the_agent_begins_anew_is_not_its_end(state: Path, start: Start) -> None:
    agent = start(state, script=_ANEW)
    agent.ready()
    assert agent.end() == 0
    assert _runs(state)["starts"] == 2


def test_a_signal_while_a_lock_is_held_ends_the_server(tmp_path: Path) -> None:
    x = np.array([[1, 2, 3]], np.float32)
    golden = GoldenSet({"x": x}, {"onnx": {"y": np.exp(x) / np.exp(x).sum()}})
    written = bundles.write(
        tmp_path / "tiny.sprat", bundles.manifest(), softmax(), golden, tolerance=Tolerance("absolute", 1e-5)
    )
    process = subprocess.Popen([sys.executable, "-c", _LOCKED, str(written)], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            assert "tiny at" in process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_hundreds_of_reloads_leave_no_thread_and_no_descriptor_behind(state: Path, start: Start) -> None:
    both = ("", "second")
    serve = (
        f'[serve]\nlisten = "unix:{state / "serve.sock"}"\n[[inputs]]\nmodel = "tiny"\nname = "asked"\nkind = "serve"\n'
    )
    settings(state, inputs=both, more=serve)
    agent = start(state)
    agent.ready()
    wait_for((state / "serve.sock").is_socket, "it serves")
    before = _held(agent)
    for turn in range(30):
        settings(state, inputs=both if turn % 2 else both[:1], more=serve if turn % 3 else "")
        for _ in range(20):
            agent.signal(signal.SIGHUP)
    settings(state, inputs=both, more=serve)
    agent.signal(signal.SIGHUP)
    wait_for(lambda: (state / "serve.sock").is_socket() and _as_before(before, _held(agent)), f"as before: {before}")
    assert agent.end() == 0
    assert "Traceback" not in agent.log


def _as_before(before: tuple[int, int], now: tuple[int, int]) -> bool:
    """Compare; an attempt to reach the broker may have held a socket when it was first looked."""
    return now[0] == before[0] and now[1] <= before[1]


def _held(agent: Agent) -> tuple[int, int]:
    """Return how many threads, sockets and pipes the process has; files come with the first frames and go again."""
    own = Path(f"/proc/{agent.process.pid}")
    open_files = [_link(path) for path in (own / "fd").iterdir()]
    kept = [name for name in open_files if name.startswith(("socket:", "pipe:", "anon_inode:"))]
    return len(list((own / "task").iterdir())), len(kept)


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""

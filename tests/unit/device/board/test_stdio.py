"""Standard error that is full and never read: whatever a process says there, it goes on and ends."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sprat_device.board.stdio import LossyStream

SAYS = """
import ctypes, faulthandler, logging, subprocess, sys, threading
from sprat_device.board import logs, stdio
if sys.argv[1] == "quietly":
    stdio.never_wait()
logs.set_up("info", "json")
log = logging.getLogger("sprat.test")
for i in range(1500):  # beyond what counts as a repetition, and more than any buffer holds
    log.error(f"{i} " + "\\U0001f41f" * 600)
log.error("%d is no number", "many")  # the library tells of it by a traceback
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
print("x" * 100_000, file=sys.stderr)
ctypes.CDLL(None).perror(b"as a runtime does")
subprocess.run([sys.executable, "-c", "import os; os.write(2, b'y' * 10)"], stderr=None)
faulthandler.dump_traceback()
print("done", flush=True)
"""


def _pipe() -> tuple[int, int]:
    return os.pipe()


def _socket() -> tuple[int, int]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return ours.detach(), theirs.detach()


def _said(how: str, standard_error: int, timeout_s: float) -> str:
    with subprocess.Popen(
        [sys.executable, "-c", SAYS, how], stdout=subprocess.PIPE, stderr=standard_error, text=True
    ) as process:
        try:
            return process.communicate(timeout=timeout_s)[0]
        finally:
            process.kill()


@pytest.mark.parametrize("make", [_pipe, pty.openpty, _socket])
def test_nothing_waits_for_who_reads_standard_error(make: Callable[[], tuple[int, int]]) -> None:
    reading, writing = make()
    try:
        flags = os.get_blocking(writing)
        assert _said("quietly", writing, 60) == "done\n"
        shared = make is not _socket
        assert os.get_blocking(writing) is (flags if shared else False), "who shares it is left alone"
    finally:
        os.close(reading)
        os.close(writing)


def test_without_it_everything_would_wait() -> None:
    reading, writing = os.pipe()
    with pytest.raises(subprocess.TimeoutExpired):
        _said("waiting", writing, 5)
    os.close(reading)
    os.close(writing)


def test_a_file_gets_everything(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        assert _said("quietly", log.fileno(), 60) == "done\n"
    said = (tmp_path / "log").read_text()
    assert said.count("\U0001f41f" * 600) == 1500
    assert "ZeroDivisionError" in said
    assert "x" * 100_000 + "\n" in said
    assert "as a runtime does" in said
    assert "yyyyyyyyyy" in said


def test_what_was_begun_is_ended_before_the_next() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    theirs.setblocking(False)

    def read() -> str:
        said = bytearray()
        try:
            while piece := theirs.recv(1 << 20):
                said += piece
        except BlockingIOError:
            return said.decode()
        raise AssertionError("it was closed")

    with ours, theirs, os.fdopen(os.dup(ours.fileno()), "w", encoding="utf-8") as stream:
        way = LossyStream(stream)
        assert not way.say("x" * 5_000_000 + "\n")
        assert not way.say("no room\n")
        begun = read()
        assert set(begun) == {"x"}
        assert way.say("next\n")
        assert way.say("last ")
        assert way.say("words")
        assert read() == "\nnext\nlast words"
        # As a traceback is written: the sentence, then the end of its line, for which there is no room.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        while way.say("more"):
            pass
        read()
        assert way.say("a line\n")
        assert read() == "\na line\n"


BECOMES = """
import sys
from sprat_device.board import owner, stdio
def become(state):
    print(isinstance(sys.stderr, stdio.LossyStream), flush=True)
    sys.exit(0)
owner.become = become
from sprat_device.__main__ import main
main(["run", "--state", sys.argv[1]])
"""


def test_the_agent_sees_to_it_while_it_may_still_open_a_terminal_anew(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BECOMES, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize("closed", [(), (2,), (0, 1, 2), (1,)])
def test_a_standard_stream_that_was_closed_leads_nowhere(tmp_path: Path, closed: tuple[int, ...]) -> None:
    found = tmp_path / "found"
    begun = f"import os, sys; [os.close(one) for one in {closed}]; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    asked = (
        "import os, sys; from sprat_device.board.stdio import keep_places; keep_places(); "
        "print('said', file=sys.stderr); led = [os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]; "
        "print(*led, open(sys.argv[1], 'w').fileno(), *map(os.get_inheritable, (0, 1, 2)), file=open(sys.argv[1], 'w'))"
    )
    subprocess.run(
        [sys.executable, "-c", begun, "-c", asked, str(found)], check=True, stdin=subprocess.PIPE, capture_output=True
    )
    *led, following, first, second, third = found.read_text().split()
    assert {n for n in range(3) if led[n] == os.devnull} == set(closed)
    assert int(following) > 2
    assert first == second == third == "True"

"""A program run for a prediction: a relay, a lamp, a message. It has a time limit, and gets the prediction on its stdin."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, cast

from sprat_device.inference.sinks.outlet import Refused
from sprat_device.inference.sinks.told import Told

_MOST_SAID: Final = 300
_MOST_KEPT: Final = 4096
_CHUNK: Final = 64 * 1024
_LOOK_S: Final = 0.05
"""Its end is noticed within this time where something that it left behind holds its stderr."""
_GRACE_S: Final = 1.0


class Hook:
    """One program; its arguments may name what is filled in. Nothing goes through a shell."""

    def __init__(self, command: Sequence[str], *, timeout_s: float) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._name = Path(command[0]).name

    def give(self, told: Told) -> None:
        """Run it; OSError where it cannot be started, Refused where it fails: what it has done is not done twice."""
        program, *arguments = self._command
        filled = [told.fill(argument).replace("\0", "") for argument in arguments]
        process = subprocess.Popen(
            [program, *filled], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        try:
            said = _talked(process, told.line, self._timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise Refused(f"{self._name} took longer than {self._timeout_s:g} s and was killed") from exc
        finally:
            _kill(process)
        if process.returncode:
            words = " ".join(said.decode("utf-8", "replace").split())[:_MOST_SAID]
            raise Refused(f"{self._name} ended with {process.returncode}{': ' * bool(words)}{words}")

    def close(self) -> None:
        """Nothing is open."""


def _talked(process: subprocess.Popen[bytes], line: bytes, timeout_s: float) -> bytes:
    """Hand over its stdin until it has ended, and return the beginning of its stderr; TimeoutExpired after so long.

    Not `communicate`: that keeps all of stderr in memory, and waits for whatever the program left behind to close it.
    """
    talk = _Talk(process, line)
    until_s = time.monotonic() + timeout_s
    while process.poll() is None:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise subprocess.TimeoutExpired(process.args, timeout_s)
        talk.go_on(min(left_s, _LOOK_S))
    talk.go_on(0)  # what it said last
    return bytes(talk.said)


class _Talk:
    """The two pipes of a program; neither is waited for longer than asked."""

    def __init__(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        self.said = bytearray()
        self._process = process
        self._stdin = cast("IO[bytes]", process.stdin)
        self._stdin_fd, self._stderr_fd = self._stdin.fileno(), cast("IO[bytes]", process.stderr).fileno()
        self._left = memoryview(line)
        self._poll = select.poll()
        for descriptor, wanted in ((self._stdin_fd, select.POLLOUT), (self._stderr_fd, select.POLLIN)):
            os.set_blocking(descriptor, False)
            self._poll.register(descriptor, wanted)
        self._open = 2

    def go_on(self, timeout_s: float) -> None:
        """Write and read what can be within the time; once both pipes are closed, wait for the end."""
        if not self._open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
            return
        for descriptor, _events in self._poll.poll(math.ceil(timeout_s * 1e3)):
            if self._hear() if descriptor == self._stderr_fd else self._tell():
                self._poll.unregister(descriptor)
                self._open -= 1
                if descriptor == self._stdin_fd:
                    self._close_stdin()

    def _close_stdin(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def _hear(self) -> bool:
        piece = os.read(self._stderr_fd, _CHUNK)
        self.said += piece[: _MOST_KEPT - len(self.said)]
        return not piece

    def _tell(self) -> bool:
        try:
            self._left = self._left[os.write(self._stdin_fd, self._left) :]
        except BrokenPipeError:
            return True  # it does not want to know
        return not self._left


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of it: what it started too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # One that hangs in a driver does not even die of SIGKILL: it is left behind.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

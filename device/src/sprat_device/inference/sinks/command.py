"""A program run for a prediction: a relay, a lamp, a message. It has a time limit, and gets the prediction on its stdin."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sprat_device.inference.sinks.outlet import Refused
from sprat_device.inference.sinks.told import Told

_MOST_SAID: Final = 300
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
            said = process.communicate(told.line, self._timeout_s)[1]
        except subprocess.TimeoutExpired as exc:
            raise Refused(f"{self._name} took longer than {self._timeout_s:g} s and was killed") from exc
        finally:
            _kill(process)
        if process.returncode:
            words = " ".join(said.decode("utf-8", "replace").split())[:_MOST_SAID]
            raise Refused(f"{self._name} ended with {process.returncode}{': ' * bool(words)}{words}")

    def close(self) -> None:
        """Nothing is open."""


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

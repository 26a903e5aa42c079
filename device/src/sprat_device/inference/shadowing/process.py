"""The agent's end of a shadow: begins its process, asks it, and ends it as soon as it does what it must not.

`Died` names what was wrong: it was not begun, it ended, it hung, it took more memory than it may, or it cannot run the
bundle at all.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.board.memory import resident_kib
from sprat_device.board.settings import RuntimeSettings
from sprat_device.board.settings.shadow import ShadowSettings
from sprat_device.contract.ids import Digest
from sprat_device.inference.shadowing.wire import OUT_OF_MEMORY, Arrays, Wire, packed

_TICK_S: Final = 0.1
"""So often is looked at the memory while nothing comes."""
_PROGRAM: Final = "sprat_device.inference.shadowing.program"


class Died(Exception):
    """A shadow's process is at its end; `again` tells whether another start could do better."""

    def __init__(self, reason: str, detail: str, *, again: bool = True) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.again = again


class Stopped(Exception):
    """The agent wants no more of it."""


@dataclass(frozen=True, slots=True)
class Said:
    """A shadow's answer to one reading: a label and outputs, or the reason why there are none."""

    reason: str
    label: int
    outputs: npt.NDArray[np.float32]
    latency_us: int


class ShadowProcess:
    """One process; it is used by one thread."""

    def __init__(
        self,
        bundle: Path,
        cache: Path,
        settings: ShadowSettings,
        *,
        digest: Digest,
        runtime: RuntimeSettings,
        stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        # One thread: the cores are the active bundle's.
        alone = replace(runtime, threads=1, onnx_inter_threads=1, cache_entries=0)
        command = [
            sys.executable, "-m", _PROGRAM, "--bundle", str(bundle), "--digest", digest, "--cache", str(cache),
            "--runtime", json.dumps(asdict(alone)), "--memory", str(settings.memory_bytes), "--parent", str(os.getpid()),
        ]  # fmt: skip
        self._process, self._end = _begun(command)
        self._wire = Wire(self._end, self._watch)
        self._until = self._held_back_s = 0.0
        self.labels: tuple[str, ...] = ()
        self.runtime = ""
        self.kept = False
        """Its answers depend on what came before."""
        self.cpu_us = 0
        self.rss_kib = 0

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def load(self) -> None:
        """Wait until it is ready to answer, or raise Died."""
        hello = self._exchange(None)
        if "refused" in hello:
            raise Died(str(hello["refused"]), str(hello["detail"]), again=False)
        self.labels, self.runtime = tuple(map(str, hello["labels"])), str(hello["runtime"])
        self.kept, self.cpu_us = bool(hello["kept"]), int(hello["cpu_us"])

    def ask(self, inputs: Arrays, *, reset: bool) -> Said:
        """Return its answer to a reading, or raise Died."""
        said = self._exchange({"inputs": packed(inputs), "reset": reset})
        self.cpu_us = int(said["cpu_us"])
        return Said(
            str(said["reason"]), int(said["label"]), np.frombuffer(said["outputs"], "<f4"), int(said["latency_us"])
        )

    def look(self) -> None:
        """Raise Died where it has ended by itself or takes more memory than it may, Stopped where it shall end."""
        if self._stopping():
            raise Stopped
        if (code := self._process.poll()) is not None:
            raise _ended(code)
        self.rss_kib = max(self.rss_kib, now_kib := resident_kib(self._process.pid))
        if now_kib * 1024 > self._settings.memory_bytes:
            raise Died("memory", f"{now_kib} KiB are resident, {self._settings.memory_bytes // 1024} are allowed")

    def end(self) -> None:
        """Kill it with all that it has started, and reap it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._end.close()

    def _exchange(self, document: dict[str, object] | None) -> dict[str, Any]:
        self._until = time.monotonic() + self._settings.timeout_s
        self._held_back_s = held_back_s(self._process.pid)
        try:
            if document is not None:
                self._wire.send(document)
            return self._wire.receive()
        except (EOFError, OSError) as exc:
            raise self._death() from exc

    def _death(self) -> Died:
        """Wait for a process that has closed its end, and return what it died of; Stopped where the agent ends."""
        until = time.monotonic() + self._settings.timeout_s
        while time.monotonic() < until:
            with suppress(subprocess.TimeoutExpired):
                return _ended(self._process.wait(timeout=_TICK_S))
            if self._stopping():
                raise Stopped
        return Died("hung", "it closed its end and did not end")

    def _watch(self) -> None:
        self.look()
        now_s = time.monotonic()
        # It stands back behind everything else, so a busy board may hold it up for long: that is not its fault.
        if now_s > self._until and now_s - (held_back_s(self._process.pid) - self._held_back_s) > self._until:
            raise Died("hung", f"no answer within {self._settings.timeout_s:g} s")


def _begun(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Begin a process and return it with the agent's end of the socket between them, or raise Died."""
    with ExitStack() as undo:
        try:
            mine, theirs = socket.socketpair()
            undo.enter_context(mine)
            with theirs:
                process = subprocess.Popen(
                    [*command, "--fd", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                    start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                )  # fmt: skip
        except OSError as exc:  # the machine has no memory, process or descriptor left: that may pass
            raise Died("not-started", f"no process can be begun ({exc.strerror})") from exc
        undo.pop_all()
    mine.settimeout(_TICK_S)
    return process, mine


def held_back_s(pid: int) -> float:
    """Return for how long a process was ready to run and others ran instead; 0 where the kernel does not tell.

    Source: https://docs.kernel.org/scheduler/sched-stats.html, the second figure of `/proc/<pid>/schedstat` in nanoseconds.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _ended(code: int) -> Died:
    if code == OUT_OF_MEMORY:
        return Died("memory", "it ran into the bound of what it may map")
    told = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Died("ended", f"its process ended with {told}")

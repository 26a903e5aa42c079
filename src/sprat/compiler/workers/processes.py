"""One worker process under watch: a time limit, a memory limit, and a named reason when it dies.

The memory limit is watched from outside, over the whole process tree: an address-space limit (RLIMIT_AS) would stop
TensorFlow, which reserves many times what it uses. The watch reads /proc, so it holds on Linux only; elsewhere the
kernel's own limits apply.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.scratch import Scratch
from sprat.errors import MachineLacks, RecipeError, SpratError, WrongUse

_QUIET: Final = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # its kernels differ from machine to machine
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
}
_FAMILIES: Final[Mapping[str, type[SpratError]]] = {
    "RecipeError": RecipeError, "ContractError": RecipeError, "MachineLacks": MachineLacks, "WrongUse": WrongUse,
}  # fmt: skip
_LOOK_EVERY_S: Final = 0.1
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class JobFailed(SpratError):
    """One job failed: the closed code and what the framework said."""

    exit_code = 1

    def __init__(self, code: GateCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[JobFailed], tuple[GateCode, str]]:
        """Cross process borders whole: the code is not among an exception's own arguments."""
        return JobFailed, (self.code, str(self))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may take: seconds, and resident memory of its processes in MB (10^6 bytes; 0: no limit)."""

    timeout_s: float
    memory_mb: float = 0.0


class WorkerProcess:
    """A worker that is started when it is needed and again after a crash; one job at a time."""

    def __init__(self, *, log: Path, limits: Limits) -> None:
        self._log, self._limits = log, limits
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: Scratch | None = None

    def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Run one job; JobFailed names what became of it, other errors are the author's or the machine's to mend."""
        process = self._started()
        stdin = process.stdin
        assert stdin is not None  # noqa: S101 - a pipe by construction
        line = b""
        try:
            stdin.write(json.dumps(job, default=str).encode() + b"\n")
            stdin.flush()
            line = self._read_line(process)
        except BrokenPipeError:
            pass  # it died before it read the job: told below
        except JobFailed:
            self.close()
            raise
        if not line:
            code = process.wait()
            self.close()
            raise JobFailed(GateCode.CONVERSION_FAILED, f"the process ended with {ending(code)}{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if answer.pop("ok"):
            return answer
        message = " ".join(str(answer["error"]).split())[:300]
        if family := _FAMILIES.get(answer["family"]):
            raise family(message)
        raise JobFailed(GateCode(answer.get("code", GateCode.CONVERSION_FAILED)), message)

    def kill(self) -> None:
        """Kill the worker and whatever it started; any thread may call this while another waits for an answer."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):  # the whole session is gone already
                os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the worker, and remove its temporary files."""
        if self._process is not None:
            self.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # a job that it never read
                        pipe.close()
            self._process = None
        if self._scratch is not None:
            self._scratch.remove()
            self._scratch = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._scratch = self._scratch or Scratch()
            own = {"TMPDIR": str(self._scratch.path)}
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "sprat.compiler.workers.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=log, env={**os.environ, **_QUIET, **own}, start_new_session=True,
                )  # fmt: skip
        return self._process

    def _read_line(self, process: subprocess.Popen[bytes]) -> bytes:
        """Read up to a newline, empty at the end of the stream; JobFailed when time or memory is over."""
        assert process.stdout is not None  # noqa: S101 - a pipe by construction
        descriptor = process.stdout.fileno()
        # poll, not select: a busy notebook or hub may well have more than 1,024 files open.
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        deadline = time.monotonic() + self._limits.timeout_s
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if waiting.poll(max(0.0, min(left, _LOOK_EVERY_S)) * 1000):
                chunk = os.read(descriptor, 65536)
                if not chunk:
                    return b""
                line += chunk
                continue
            self._require_memory(process.pid)
            if left <= 0:
                raise JobFailed(
                    GateCode.CONVERSION_TIMEOUT,
                    f"stopped after {self._limits.timeout_s:g} s (setting conversion_timeout_s)",
                )
        return line

    def _require_memory(self, pid: int) -> None:
        allowed = self._limits.memory_mb
        if allowed and (found := tree_resident_bytes(pid) / 1e6) > allowed:
            raise JobFailed(
                GateCode.CONVERSION_MEMORY,
                f"stopped at {found:.0f} MB of memory, allowed {allowed:g} MB (setting conversion_memory_mb)",
            )

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return f" ({lines[-1].strip()[:200]})" if lines else ""


def tree_resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and all that descend from it; 0 where there is no /proc."""
    total, waiting = 0, [pid]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            total += int((folder / "statm").read_text().split()[1]) * _PAGE
            # A child belongs to the thread that made it.
            for thread in (folder / "task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
        except (OSError, IndexError):
            continue  # it ended while we looked, or this system has no /proc
    return total


def ending(code: int) -> str:
    """Say how a process ended; a kill that we did not order is most often the kernel's, for want of memory."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    hint = ": the machine was probably out of memory" if -code == signal.SIGKILL else ""
    return f"signal {-code} ({name}{hint})"

"""Runs jobs in the worker process, each with a time limit; a crash or an overrun is a failed job with a name."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

from sprat.compiler.gates import GateCode
from sprat.compiler.work import Work
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


class JobFailed(SpratError):
    """One job failed: the closed code and what the framework said."""

    exit_code = 1

    def __init__(self, code: GateCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Jobs:
    """A worker process that is started when it is needed and again after a crash."""

    def __init__(self, *, log: Path, timeout_s: float) -> None:
        self._log = log
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def columns(self, factory: Path, out: Path) -> None:
        """Run a factory's `data()` into an npz file."""
        self._run({"job": "data", "path": str(factory), "out": str(out)})

    def train(self, work: Work) -> dict[str, Any]:
        """Train, and keep the research model's answers."""
        return self._run({"job": "train", "work": asdict(work)})

    def lower(self, work: Work, scheme: str, out: Path) -> dict[str, Any]:
        """Convert by one scheme into a file."""
        return self._run({"job": "lower", "work": asdict(work), "scheme": scheme, "out": str(out)})

    def describe(self, path: Path, kind: str) -> dict[str, Any]:
        """Return inputs, outputs and operators of an artifact file."""
        return self._run({"job": "describe", "path": str(path), "kind": kind})

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        process = self._started()
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None  # noqa: S101 - both are pipes by construction
        assert stdout is not None  # noqa: S101
        line = b""
        try:
            stdin.write(json.dumps(job, default=str).encode() + b"\n")
            stdin.flush()
            line = _read_line(stdout.fileno(), self._timeout_s)
        except TimeoutError:
            self.close()
            raise JobFailed(
                GateCode.CONVERSION_TIMEOUT, f"stopped after {self._timeout_s:g} s (setting conversion_timeout_s)"
            ) from None
        except BrokenPipeError:
            pass  # it died before it read the job: told below
        if not line:
            code = process.wait()
            self.close()
            raise JobFailed(GateCode.CONVERSION_FAILED, f"the process ended with {_ending(code)}{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if answer.pop("ok"):
            return answer
        message = " ".join(str(answer["error"]).split())[:300]
        if family := _FAMILIES.get(answer["family"]):
            raise family(message)
        raise JobFailed(GateCode.CONVERSION_FAILED, message)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "sprat.compiler.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=log, env={**os.environ, **_QUIET}, start_new_session=True,
                )  # fmt: skip
        return self._process

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return f" ({lines[-1].strip()[:200]})" if lines else ""


def _read_line(descriptor: int, timeout_s: float) -> bytes:
    """Read up to a newline; empty at the end of the stream, TimeoutError when the time is over."""
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        # poll, not select: a busy notebook or hub may well have more than 1,024 files open.
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return b""
        line += chunk
    return line


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"

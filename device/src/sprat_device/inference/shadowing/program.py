"""The shadow's own process: `python -m sprat_device.inference.shadowing.program --fd N --bundle PATH --cache DIR …`.

It stands back behind everything else on the machine (idle scheduling class, first to be ended when memory is short),
loads one bundle, and answers documents on a socket until that is closed. Exit codes: 0 the socket was closed, 3 the
bundle cannot be run here (the first document says why), 12 out of memory.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from sprat_device.board.memory import resident_kib
from sprat_device.board.settings import RuntimeSettings
from sprat_device.contract.errors import BundleRefused, SpratError
from sprat_device.contract.manifest import State
from sprat_device.contract.phases import Reason
from sprat_device.inference.preparing import as_taken
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.session import Session, open_file
from sprat_device.inference.shadowing.wire import OUT_OF_MEMORY, REFUSED, Wire, unpacked

_PR_SET_PDEATHSIG: Final = 1
_LEAST_ROOM: Final = 16 * 1024 * 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Answer until the socket is closed."""
    parser = argparse.ArgumentParser(prog="sprat-device shadow", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--fd", type=int, required=True, help="the socket to the agent")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--digest", required=True, help="SHA-256 of the bundle as it was verified")
    parser.add_argument("--cache", type=Path, required=True, help="where artifacts are extracted")
    parser.add_argument("--runtime", type=json.loads, required=True, help="settings of the runtime, as JSON")
    parser.add_argument("--memory", type=int, required=True, help="bytes that this process may take")
    parser.add_argument("--parent", type=int, required=True, help="process id of the agent")
    given = parser.parse_args(argv)
    stand_back(given.parent)
    wire = Wire(socket.socket(fileno=given.fd))
    try:
        return _answer(wire, given)
    except MemoryError:
        return OUT_OF_MEMORY
    except (EOFError, OSError):
        return 0  # the agent has closed its end


def stand_back(parent: int) -> None:
    """Give way to everything else; what the kernel or a container forbids is left."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Ends with the agent, even where a runtime hangs in C and would never see the socket close.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)  # it was gone before that took hold
    with suppress(OSError):
        os.nice(19)
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _answer(wire: Wire, given: argparse.Namespace) -> int:
    try:
        _require_verified(given.bundle, given.digest)
        wanted = RuntimeSettings(**{**given.runtime, "prefer": tuple(given.runtime["prefer"])})
        session = Session.open(given.bundle, cache=given.cache, settings=wanted)
    except SpratError as exc:
        reason = exc.reason if isinstance(exc, BundleRefused) else Reason.NOT_LOADED
        wire.send({"refused": str(reason), "detail": str(exc)[:500]})
        return REFUSED
    bound_memory(given.memory)
    wire.send({
        "labels": list(session.manifest.labels), "runtime": session.runtime,
        "kept": session.manifest.state is State.KEPT, "cpu_us": _cpu_us(),
    })  # fmt: skip
    while True:
        asked = wire.receive()
        if asked["reset"]:
            session.reset()
        wire.send(_reply(session, unpacked(asked["inputs"])))


def _require_verified(bundle: Path, digest: str) -> None:
    """Raise BundleRefused where the file is not the one that was verified: nothing of it is run then."""
    with open_file(bundle) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise BundleRefused(
            Reason.HASH_MISMATCH, f"{bundle.name} has SHA-256 {found[:12]}…, {digest[:12]}… was verified"
        )


def bound_memory(most: int) -> None:
    """Bound what may be mapped from now on to what is left of the process's memory.

    A bound on all that is mapped would count libraries that are never touched; the agent watches what is resident.
    """
    room = max(_LEAST_ROOM, most - resident_kib() * 1024)
    with suppress(OSError, ValueError):  # a sandbox may forbid it: then the agent's watch is all there is
        mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + room, mapped + room))


def _reply(session: Session, inputs: dict[str, Any]) -> dict[str, object]:
    begun = time.perf_counter_ns()
    reading = as_taken(inputs, session.prepare)  # by its own steps, which need not be those of the bundle that answers
    reason: str | None = reading.fault.reason if reading.fault else session.check_input(reading.inputs)
    label, outputs = -1, np.zeros(0, np.float32)
    if reason is None:
        try:
            label, outputs, _ = session.predict(reading.inputs)
        except RunFailed:
            reason = Reason.RUN_FAILED
    latency_us = (time.perf_counter_ns() - begun) // 1000
    if reason is None and not np.isfinite(outputs).all():
        reason = Reason.NON_FINITE
    return {
        "reason": reason or "",
        "label": int(label),
        "outputs": np.asarray(outputs, "<f4").tobytes(),
        "latency_us": latency_us,
        "cpu_us": _cpu_us(),
    }


def _cpu_us() -> int:
    return time.process_time_ns() // 1000


if __name__ == "__main__":
    sys.exit(main())

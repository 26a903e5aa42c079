"""A shadow's process that does what the name of its bundle says: `die-3.sprat` ends with a signal at the third reading.

It keeps the real program's manners at the start, so what is tested is the agent's side.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from sprat_device.inference.shadowing.program import bound_memory, stand_back
from sprat_device.inference.shadowing.wire import Wire, unpacked


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("fd", "bundle", "digest", "cache", "runtime", "memory", "parent"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    what, _, at = Path(given.bundle).stem.partition("-")
    stand_back(int(given.parent))
    wire = Wire(socket.socket(fileno=int(given.fd)))
    if what == "refuse":
        wire.send({"refused": "not-loaded", "detail": "no such op"})
        return 3
    if what == "crash":
        return 7
    wire.send({"labels": ["low", "middle", "high"], "runtime": "none", "kept": what == "stream", "cpu_us": 0})
    return _answer(wire, what, int(at or 0), int(given.memory))


def _answer(wire: Wire, what: str, at: int, memory: int) -> int:
    count, eaten = 0, []
    while True:
        try:
            asked = wire.receive()
        except EOFError:
            return 0
        count += 1
        time.sleep(1.5 if what == "slow" else 0)
        if count >= at:
            match what:
                case "die":
                    os.kill(os.getpid(), signal.SIGSEGV)
                case "hang":
                    time.sleep(3600)
                case "close":
                    wire._end.close()
                    time.sleep(3600)
                case "eat":
                    eaten.append(bytearray(os.urandom(1) * (memory // 2)))
                case "map":
                    bound_memory(memory)
                    try:
                        eaten.append(bytearray(2 * memory))
                    except MemoryError:
                        return 12
        wire.send(_reply(what, unpacked(asked["inputs"])["x"], count))


def _reply(what: str, values: Any, count: int) -> dict[str, object]:
    outputs = np.asarray(values, np.float32).ravel()
    if what == "other":
        outputs = outputs[::-1]
    if what == "slow":
        time.sleep(0.2)
    return {
        "reason": "run-failed" if what == "fail" else "", "label": int(outputs.argmax()), "outputs": outputs.tobytes(),
        # As if it had computed for ten milliseconds.
        "latency_us": 10_000, "cpu_us": 10_000 * count,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

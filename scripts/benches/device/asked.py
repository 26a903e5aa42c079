"""How long one answer on demand takes, over a kept connection, beside the bare run of the same session, by turns.

asked.py BUNDLE ROWS REQUESTS
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from agent import rows_of

from sprat_device.board.settings.serve import ServeSettings
from sprat_device.inference.serve.inprocess import served
from sprat_device.inference.session import Session

ROUNDS = 10


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def main(bundle: Path, rows: Path, requests: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        session = Session.open(bundle, cache=folder / "cache")
        inputs = rows_of(rows, session)
        ((only, array),) = inputs.items()
        row = array[0].astype(np.float32)
        raw, plain = row.tobytes(), json.dumps({"inputs": {only: row.tolist()}}).encode()
        path = f"/v1/models/{session.manifest.model}/predict"
        took: dict[str, list[float]] = {}
        port = _free_port()
        unix = f"{folder}/serve.sock"
        for listen, connection in (
            (f"127.0.0.1:{port}", lambda: http.client.HTTPConnection("127.0.0.1", port)),
            (f"unix:{unix}", lambda: UnixConnection(unix)),
        ):
            kind = "unix" if listen.startswith("unix:") else "tcp"
            with served([(session, 1)], ServeSettings(listen=listen)):
                asked = connection()
                sides: dict[str, Callable[[], object]] = {
                    f"{kind} raw": lambda asked=asked: _ask(asked, path, raw, "application/octet-stream"),
                    f"{kind} json": lambda asked=asked: _ask(asked, path, plain, "application/json"),
                    "bare": lambda: session.predict({only: row}),
                }
                for _ in range(ROUNDS):
                    for side, work in sides.items():
                        took.setdefault(side, []).extend(_times(work, requests // ROUNDS))
                asked.close()
    print(json.dumps({
        side: {"p50": float(np.percentile(times, 50)), "p99": float(np.percentile(times, 99))} for side, times in took.items()
    }))  # fmt: skip


def _ask(asked: http.client.HTTPConnection, path: str, body: bytes, kind: str) -> None:
    asked.request("POST", path, body, {"Content-Type": kind})
    answer = asked.getresponse()
    said = answer.read()
    assert answer.status == 200, said


def _times(work: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append((time.perf_counter() - begun) * 1e6)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

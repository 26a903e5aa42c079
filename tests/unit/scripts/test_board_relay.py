"""The virtual board's way to a hub: one program for each connection, between a pipe and a port of loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

RELAY = Path(__file__).parents[3] / "scripts/board/relay.py"


def relay(port: int, sent: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-S", str(RELAY), str(port)]
    return subprocess.run(command, input=sent, capture_output=True, check=False, timeout=60)


def test_bytes_go_both_ways_and_the_ends_with_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                asked = b"".join(iter(lambda: peer.recv(65536), b""))  # until the guest's end was passed on
                peer.sendall(asked[::-1])

        serving = threading.Thread(target=answer)
        serving.start()
        asked = bytes(range(256)) * 4096
        done = relay(server.getsockname()[1], asked)
        serving.join()
    assert (done.returncode, done.stdout, done.stderr) == (0, asked[::-1], b"")


def test_where_nobody_listens_the_connection_ends() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        done = relay(taken.getsockname()[1], b"")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

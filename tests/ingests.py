"""The hub's ingest as a process over a real broker; it can be killed, frozen and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.brokers import Mosquitto, TestAuthority

PATIENCE_S: Final = 60.0


class Ingest:
    """The process under test; it can be killed and started again."""

    def __init__(self, folder: Path, broker: Mosquitto, authority: TestAuthority) -> None:
        certificate, key = authority.issue("hub")
        self._log = folder / "ingest.log"
        self._argv = [
            sys.executable, "-m", "sprat.hub.telemetry.ingest", str(folder), "--mqtt-host", "localhost",
            "--mqtt-port", str(broker.port), "--ca", str(authority.ca), "--cert", str(certificate), "--key", str(key),
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ready = self._log.read_text().count("subscription ready") if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        until(lambda: self._log.read_text().count("subscription ready") > ready)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Let it stand still: it is connected and never acks."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


def until(met: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not met():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)

"""Child processes of the hub, found again after the hub was killed: a pid file and the command line identify them.

A child that was left behind is adopted where its settings are still the same, else it is ended; two of a kind never
run on one folder.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sprat.errors import MachineLacks
from sprat.hub.folder import write_private

_log = logging.getLogger(__name__)
_PATIENCE_S: Final = 10.0


@dataclass(slots=True)
class Child:
    """One program that the hub keeps alive."""

    name: str
    argv: Sequence[str]
    folder: Path
    """Where its pid file and its log stand."""
    _process: subprocess.Popen[bytes] | None = None
    _pid: int = field(default=0)

    def start(self) -> None:
        """Start it; what was left behind of an earlier one must have been adopted or ended."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with self.log_file.open("ab") as log:
                # A session of its own: Ctrl-C in a terminal reaches the hub only, which ends its children in order.
                self._process = subprocess.Popen(
                    list(self.argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except FileNotFoundError as exc:
            raise MachineLacks(f"{self.name}: {self.argv[0]} is not installed") from exc
        self._pid = self._process.pid
        write_private(self._pid_file, str(self._pid))

    def adopt(self) -> bool:
        """Take over the one that a killed hub left behind; False if there is none."""
        self._process, self._pid = None, self.orphan()
        return self._pid != 0

    def orphan(self) -> int:
        """Return the pid of a running process with this very command line that the pid file names, or 0."""
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        except (OSError, ValueError):
            return 0
        return pid if command == [os.fsencode(part) for part in self.argv] else 0

    def alive(self) -> bool:
        """Tell whether it runs."""
        if self._process is not None:
            return self._process.poll() is None
        return self._pid != 0 and self.orphan() == self._pid

    @property
    def pid(self) -> int:
        """Return its process id, 0 before the start."""
        return self._pid

    @property
    def log_file(self) -> Path:
        """Return where its output goes."""
        return self.folder / f"{self.name}.log"

    def last_words(self) -> str:
        """Return the last line of its log."""
        try:
            lines = self.log_file.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            lines = []
        return lines[-1] if lines else "it said nothing"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.alive():
            with suppress(ProcessLookupError):  # it ended in between
                os.kill(self._pid, number)

    def stop(self) -> None:
        """Ask it to end, insist after a while, and wait until it is gone."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            if self._gone_within(_PATIENCE_S):
                break
            _log.warning("%s (pid %d) did not end after %s", self.name, self._pid, number.name)
        self._pid_file.unlink(missing_ok=True)

    def _gone_within(self, timeout_s: float) -> bool:
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return False
            return True
        return self._orphan_gone_within(timeout_s)

    def _orphan_gone_within(self, timeout_s: float) -> bool:
        if not self.alive():
            return True
        try:
            handle = os.pidfd_open(self._pid)
        except OSError as exc:
            if exc.errno == errno.ESRCH:
                return True
            raise
        try:
            return bool(select.select([handle], [], [], timeout_s)[0])
        finally:
            os.close(handle)

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

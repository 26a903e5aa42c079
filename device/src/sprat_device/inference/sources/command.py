"""A program whose output is read: a camera's frames, a decoder's lines. It is a child in a group of its own.

Its end is a break of the feed, so `Reopening` starts it anew with backoff. What it says on stderr is logged, so many lines a
minute; nothing goes through a shell.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO, Final, cast

from sprat_device.board.clock import Clock
from sprat_device.inference.pace import Pace
from sprat_device.inference.sources.descriptor import Descriptor
from sprat_device.inference.sources.item import Item
from sprat_device.inference.sources.splitting import Splitter

_LOG: Final = logging.getLogger("sprat.source")
_LINES_A_MINUTE: Final = 20
_GRACE_S: Final = 0.5
_WHY_S: Final = 0.25
"""Its output ends a moment before it does."""
_MOST_LINE: Final = 4096


class Child:
    """A running program as a feed."""

    def __init__(self, command: Sequence[str], clock: Clock, splitter: Splitter, *, newest: bool = False) -> None:
        """Start it; OSError where there is no such program."""
        self._name = Path(command[0]).name
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        out = cast("BufferedReader", self._process.stdout)
        self._feed = Descriptor(out.fileno(), clock, splitter, ended=self._why, newest=newest)
        self._said = threading.Thread(
            target=self._log, args=(self._process.stderr,), name=f"stderr of {self._name}", daemon=True
        )
        self._said.start()

    def take(self, timeout_s: float) -> Item | None:
        """Return the next line or record; OSError once it has ended."""
        return self._feed.take(timeout_s)

    def close(self) -> None:
        """End it and what it started: first asked, after half a second killed."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            # One that hangs in a driver does not even die of SIGKILL: it is left behind.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)
        cast("IO[bytes]", self._process.stdout).close()
        self._said.join(_GRACE_S)

    def _signal(self, number: signal.Signals) -> None:
        # The group outlives its leader where that has started others, so it is asked even when the leader is gone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _why(self) -> str:
        try:
            code = self._process.wait(_WHY_S)
        except subprocess.TimeoutExpired:
            return f"{self._name} closed its output"
        return f"{self._name} ended with {code}" if code >= 0 else f"{self._name} was ended by signal {-code}"

    def _log(self, stream: IO[bytes]) -> None:
        pace = Pace(_LINES_A_MINUTE / 60, burst=_LINES_A_MINUTE)
        with stream:
            while line := stream.readline(_MOST_LINE):
                if pace.allows():
                    _LOG.warning("%s: %s", self._name, line.decode("utf-8", "replace").strip())

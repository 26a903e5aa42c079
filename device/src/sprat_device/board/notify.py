"""What the agent tells its service manager: the protocol of sd_notify(3), datagrams on the socket in NOTIFY_SOCKET.

Without that variable nobody listens and every word is a cheap nothing. The variables are taken out of the environment,
so that children of the agent cannot speak in its name.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final, Self

_LOG: Final = logging.getLogger("sprat.notify")
_US: Final = 1_000_000


class Notifier:
    """Speaks to the service manager; `watchdog_s` is how often it wants to hear that all is well, 0 for never."""

    def __init__(self, address: str = "", *, watchdog_s: float = 0.0) -> None:
        # A leading @ stands for the zero byte of Linux's abstract names.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else 0.0
        self._complained = False
        self._status = ""

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """Take the address and the watchdog's interval out of the environment."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        meant = interval.isdecimal() and pid in {"", str(os.getpid())}
        return cls(address, watchdog_s=int(interval) / _US if meant else 0.0)

    def give_back(self, environment: MutableMapping[str, str]) -> None:
        """Put the variables back, for a program that takes this process' place."""
        if self._address:
            environment["NOTIFY_SOCKET"] = "@" + self._address[1:] if self._address[0] == "\0" else self._address
        if self.watchdog_s:
            environment["WATCHDOG_USEC"] = str(int(self.watchdog_s * _US))

    def ready(self, status: str) -> None:
        """Tell that start or reload are done."""
        self._tell("READY=1", f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """Tell that settings are being read again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._tell("STOPPING=1")

    def status(self, line: str) -> None:
        """Tell people in a line what is going on; the same line again is not sent."""
        if line != self._status:
            self._status = line
            self._tell(f"STATUS={_line(line)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell("WATCHDOG=1")

    def _tell(self, *words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as letter:
                letter.setblocking(False)  # a manager that does not read must not halt the agent
                letter.sendto("\n".join(words).encode(), self._address)
        except OSError as exc:
            if not self._complained:
                self._complained = True
                _LOG.warning("the service manager cannot be told (%s); it may take the agent for hung", exc)


def _line(text: str) -> str:
    return " ".join(text.split())[:200]

"""A prediction posted as JSON: to a program on the board or on the site. One connection is kept open between two."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any, Final, cast
from urllib.parse import urlsplit

from sprat_device.inference.sinks.outlet import Refused
from sprat_device.inference.sinks.told import Told

_LATER: Final = frozenset({408, 425, 429})
_MOST_ANSWER: Final = 64 * 1024


class Webhook:
    """An address; answers of 200 to 299 are taken as done, 4xx as a refusal, all others as trouble that passes."""

    def __init__(self, url: str, headers: Mapping[str, str], *, timeout_s: float) -> None:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        self._timeout_s = timeout_s
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", **headers}
        self._where = f"{parts.hostname}:{parts.port or self._connection.default_port}"

    def give(self, told: Told) -> None:
        """Post one prediction; OSError for what may pass, Refused for what will not."""
        self._limit(time.monotonic() + self._timeout_s)
        try:
            self._connection.request("POST", self._path, told.line, self._headers)
            answer = self._connection.getresponse()
            answer.read(_MOST_ANSWER)
        except HTTPException as exc:
            raise OSError(f"{self._where}: no HTTP answer ({type(exc).__name__})") from exc
        except OSError as exc:
            raise OSError(f"{self._where}: {exc.strerror or exc}") from exc
        except ValueError as exc:  # a header that is none, a name that no host can have
            raise Refused(f"{self._where}: {exc}") from exc
        if answer.status >= 500 or answer.status in _LATER:
            raise OSError(f"{self._where} answered {answer.status}")
        if not 200 <= answer.status < 300:
            raise Refused(f"{self._where} answered {answer.status}")
        if not answer.isclosed():
            self._connection.close()  # more than anybody reads: the next one takes a new connection

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _limit(self, until_s: float) -> None:
        """Have the answer read until then, and no longer: a byte now and then would keep every single read in time."""
        connection = self._connection
        if connection.sock is not None:
            connection.sock.settimeout(
                self._timeout_s
            )  # what is left of an earlier answer's time is not that of this one
        connection.response_class = partial(_answer, until_s)  # type: ignore[assignment]  # it is called, nothing else


class _Within(RawIOBase):
    """What a socket brings until a moment; TimeoutError from then on."""

    def __init__(self, connected: socket.socket, until_s: float) -> None:
        self._connected = connected
        self._raw = connected.makefile("rb", buffering=0)
        self._until_s = until_s

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, into: Any) -> int | None:
        """Read what comes first."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._connected.settimeout(left_s)
        return self._raw.readinto(into)

    def close(self) -> None:
        """Let go of the socket, which the connection may have closed before."""
        self._raw.close()
        super().close()


@dataclass(frozen=True, slots=True)
class _Limited:
    """A socket as an answer takes it."""

    connected: socket.socket
    until_s: float

    def makefile(self, _mode: str) -> BufferedReader:
        """Return what the answer is read from."""
        return BufferedReader(_Within(self.connected, self.until_s))


def _answer(until_s: float, connected: socket.socket, **more: Any) -> HTTPResponse:
    return HTTPResponse(cast("socket.socket", _Limited(connected, until_s)), **more)

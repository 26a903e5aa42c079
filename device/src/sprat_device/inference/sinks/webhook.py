"""A prediction posted as JSON: to a program on the board or on the site. One connection is kept open between two."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
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
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", **headers}
        self._where = f"{parts.hostname}:{parts.port or self._connection.default_port}"

    def give(self, told: Told) -> None:
        """Post one prediction; OSError for what may pass, Refused for what will not."""
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

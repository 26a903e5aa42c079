"""HTTP/1.1 as bytes: what a request may look like, and how a response is written. No I/O.

Strict on purpose, since nothing but a plain client talks to a device: lines end in CRLF, targets are paths, bodies say
their length, no header is folded, and what decides a message's end may stand in it only once (RFC 9112, 3 to 7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Final
from urllib.parse import parse_qsl, unquote

from sprat_device.contract.errors import SpratError

MAX_HEAD: Final = 16 * 1024
_MAX_HEADERS: Final = 64
_MAX_QUERY: Final = 16
_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([ -~\t\x80-\xff]*?)[ \t]*")
_ONCE: Final = frozenset({"host", "content-length", "content-type", "authorization", "expect", "origin"})
JSON: Final = "application/json"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Refusal(SpratError):
    """A request that is not answered with a prediction: its status, a short reason code and the line for people."""

    exit_code: ClassVar[int] = 1

    def __init__(self, status: int, reason: str, message: str, **headers: str) -> None:
        """Keep what the response says; underscores in header names stand for dashes."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int
    keep: bool
    expects: bool

    @property
    def content_type(self) -> str:
        """Return the media type of the body without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request."""

    head: Head
    body: bytes = b""
    held: object = None
    """The claim to the room that the body takes."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self, *, keep: bool) -> bytes:
        """Return its bytes; `keep` says whether the connection stays open."""
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            f"Connection: {'keep-alive' if keep else 'close'}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def parse_head(raw: bytes) -> Head:
    """Read what stands before a request's empty line, or raise Refusal."""
    first, *rest = raw.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise _malformed("request line", "METHOD /path HTTP/1.1")
    headers = _headers(rest)
    newer = line[3] == b"1"
    if newer and "host" not in headers:
        raise _malformed("Host", "one Host header")
    path, _, query = line[2].decode("ascii").partition("?")
    connection = headers.get("connection", "").lower()
    return Head(
        method=line[1].decode("ascii"),
        path=unquote(path),
        query=_query(query),
        headers=headers,
        length=_length(headers),
        keep="close" not in connection and (newer or "keep-alive" in connection),
        expects=_expects(headers),
    )


def _query(text: str) -> dict[str, str]:
    if text.count("&") >= _MAX_QUERY:
        raise Refusal(400, "bad-request", f"query of more than {_MAX_QUERY} parameters; /v1/models tells what is taken")
    return dict(parse_qsl(text, keep_blank_values=True))


def _headers(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > _MAX_HEADERS:
        raise Refusal(431, "bad-request", f"{len(lines)} headers, at most {_MAX_HEADERS} are allowed")
    found: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise _malformed("header", "Name: value, on one line")
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1")
        if name in found and name in _ONCE:
            raise _malformed(name, "it once")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise Refusal(411, "length-required", "Transfer-Encoding is not accepted; send the body with a Content-Length")
    raw = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,12}", raw):
        raise _malformed("Content-Length", "a number of bytes")
    return int(raw)


def _expects(headers: Mapping[str, str]) -> bool:
    wish = headers.get("expect", "").lower()
    if wish not in {"", "100-continue"}:
        raise Refusal(417, "bad-request", f"Expect: found {wish[:40]!r}, expected 100-continue or nothing")
    return bool(wish)


def _malformed(what: str, expected: str) -> Refusal:
    return Refusal(400, "bad-request", f"{what}: not as HTTP has it, expected {expected}")

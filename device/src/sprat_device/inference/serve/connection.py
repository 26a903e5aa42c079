"""One client: bytes in until a request is whole, bytes out until its response is gone; never blocks.

A request must arrive within a time of its own, counted from its first byte: a client that sends a byte now and then
does not stay for longer than one that sends nothing.
"""

from __future__ import annotations

import contextlib
import socket
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sprat_device.inference.serve.wire import CONTINUE, JSON, MAX_HEAD, Head, Refusal, Request, Response, parse_head

if TYPE_CHECKING:
    from sprat_device.board.settings.serve import ServeSettings
    from sprat_device.inference.serve.exchange import Exchange
    from sprat_device.inference.serve.room import Claim, Room

_CHUNK: Final = 256 * 1024
_LEAVE_S: Final = 2.0
"""A refused client that still sends is listened to for so long: closing at once would take the answer from it."""


class Phase(StrEnum):
    """Where a connection is."""

    IDLE = "idle"
    READING = "reading"
    WAITING = "waiting"
    WRITING = "writing"
    LEAVING = "leaving"


class Connection:
    """A client's socket with what has come and what is to go."""

    def __init__(self, client: socket.socket, limits: ServeSettings, room: Room, now_s: float) -> None:
        client.setblocking(False)
        if client.family != socket.AF_UNIX:
            # Otherwise the second of two small packets waits for the first one's ack.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = client
        self.exchange: Exchange | None = None
        self._limits = limits
        self._room = room
        self._claim: Claim | None = None
        """To the body that arrives, then to the answer that goes."""
        self._came = bytearray()
        self._head: Head | None = None
        self._to_send = memoryview(b"")
        self._keep = True
        self._whole = True
        self._enter(Phase.IDLE, now_s)

    def receive(self) -> bool:
        """Take what has come; False once the client is gone."""
        try:
            chunk = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if self.phase is Phase.LEAVING:
            return bool(chunk)
        self._came += chunk
        # While an answer is awaited, a few requests ahead are kept, not a flood of them.
        flooded = self.phase in {Phase.WAITING, Phase.WRITING} and len(self._came) > MAX_HEAD
        return bool(chunk) and not flooded

    def take(self, now_s: float) -> Request | None:
        """Return the next whole request that has come, or raise Refusal for one that will not be."""
        if self._came and self.phase is Phase.IDLE:
            self._enter(Phase.READING, now_s)
            self._whole = False
        if self._head is None and not self._take_head():
            return None
        head = self._head
        if head is None or len(self._came) < head.length:
            return None
        body = bytes(memoryview(self._came)[: head.length])
        del self._came[: head.length]
        self._head = None
        self._whole = True
        self._enter(Phase.WAITING, now_s)
        claim, self._claim = self._claim, None
        return Request(head, body, claim)

    def respond(self, response: Response, now_s: float, *, keep: bool = True) -> bool:
        """Begin to send a response; False where the client is gone."""
        self._keep = keep and self._keep
        self._to_send = memoryview(response.encode(keep=self._keep))
        self._claim = self._room.keep(len(self._to_send))
        self._enter(Phase.WRITING, now_s)
        return self.send(now_s)

    def refuse(self, response: Response, now_s: float) -> bool:
        """Begin to send a response to a client that is not listened to, and leave it the time to read it."""
        self._whole = False
        return self.respond(response, now_s, keep=False)

    def send(self, now_s: float) -> bool:
        """Send on; False where the client is gone, or the last response has been sent."""
        try:
            while self._to_send:
                self._to_send = self._to_send[self.socket.send(self._to_send) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._claim = None
        if self._keep:
            self._enter(Phase.IDLE, now_s)
        elif not self._whole:
            with contextlib.suppress(OSError):  # it has gone by itself
                self.socket.shutdown(socket.SHUT_WR)
            self._enter(Phase.LEAVING, now_s)
            return True
        return self._keep

    def late(self, now_s: float) -> bool:
        """Tell whether the client took too long for what it is at."""
        return now_s > self.until_s

    def _take_head(self) -> bool:
        end = self._came.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(self._came) >= MAX_HEAD:
                raise Refusal(431, "bad-request", f"headers of more than {MAX_HEAD} bytes")
            return False
        head = parse_head(bytes(self._came[:end]))
        del self._came[: end + 4]
        self._keep = head.keep
        self._require_room(head)
        self._claim = self._room.claim(head.length) if head.length else None
        if head.expects and len(self._came) < head.length:
            # A client that is not told sends its body after a moment all the same.
            with contextlib.suppress(OSError):
                self.socket.send(CONTINUE)
        self._head = head
        return True

    def _require_room(self, head: Head) -> None:
        whole, json = self._limits.max_body_bytes, self._limits.max_json_bytes
        if head.length > whole:
            raise Refusal(
                413, "too-large", f"body of {head.length} bytes, at most {whole} are taken (serve.max_body_bytes)"
            )
        if head.content_type == JSON and head.length > json:
            raise Refusal(
                413, "too-large",
                f"{head.length} bytes of JSON, at most {json} are taken (serve.max_json_bytes); send the bare bytes",
            )  # fmt: skip

    def _enter(self, phase: Phase, now_s: float) -> None:
        self.phase = phase
        match phase:
            case Phase.IDLE:
                self.until_s = now_s + self._limits.idle_s
            case Phase.WAITING:
                self.until_s = float("inf")  # the exchange has a time limit of its own
            case Phase.LEAVING:
                self.until_s = now_s + _LEAVE_S
            case _:
                self.until_s = now_s + self._limits.request_s

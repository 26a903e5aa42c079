"""A transport of lists: what the uplink published, and what a test lets it hear."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sprat_device.contract import topics
from sprat_device.contract.errors import HubUnreachable
from sprat_device.contract.frame import open_frame
from sprat_device.contract.phases import Lane
from sprat_device.contract.topics import Kind
from sprat_device.telemetry.transport import Connected, Message, Signal, Will


@dataclass
class ListTransport:
    """Keeps what was published, gives what a test queued."""

    reachable: bool = True
    mute: bool = False
    """The broker takes a connection and never says a word."""
    session_present: bool = False
    published: list[tuple[str, bytes]] = field(default_factory=list)
    signals: deque[Signal] = field(default_factory=deque)
    subscribed: tuple[str, ...] = ()
    connects: int = 0

    def connect(self, will: Will) -> None:
        self.connects += 1
        if not self.reachable:
            raise HubUnreachable("nobody there")
        if not self.mute:
            self.signals.append(Connected(self.session_present))

    def subscribe(self, wanted: tuple[str, ...]) -> None:
        self.subscribed = wanted

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes = b"") -> int:
        if not self.reachable:
            raise HubUnreachable("gone")
        self.published.append((topic, payload))
        return len(self.published)

    def mention(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, payload))

    def receive(self, timeout_s: float) -> Signal | None:
        return self.signals.popleft() if self.signals else None

    def wake(self) -> None:
        pass

    def disconnect(self) -> None:
        pass

    def drop(self) -> None:
        self.signals = deque(signal for signal in self.signals if isinstance(signal, Message))

    def frames(self) -> list[tuple[Lane, int]]:
        """Return lane and seq of the published frames, and forget them."""
        headers = [open_frame(payload).header for payload in self.take(Kind.FRAMES)]
        return [(header.lane, header.seq) for header in headers]

    def take(self, kind: Kind) -> list[bytes]:
        """Return the payloads of one kind that were published, and forget them."""
        found = [payload for topic, payload in self.published if topics.parse(topic).kind is kind]
        self.published = [entry for entry in self.published if topics.parse(entry[0]).kind is not kind]
        return found

"""What this device says besides frames: presence, the reported twin, replies to commands, the newest predictions.

The reported twin and replies wait here for a connection; a reply goes when its publish did not fail, so one whose
connection broke goes with the next. A live mention is lost where nobody hears it. What is to be said may come from any
thread; it is sent in the uplink's.
"""

from __future__ import annotations

from collections import deque

from sprat_device.contract import topics
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.topics import Kind
from sprat_device.contract.twin import Presence
from sprat_device.telemetry.hub_words import Command
from sprat_device.telemetry.transport import Transport, Will


class OwnWords:
    """The words of one device, and over which topics they go; whatever sends may raise HubUnreachable."""

    def __init__(self, device: DeviceId, transport: Transport) -> None:
        self._device = device
        self._transport = transport
        self._reported = b""
        self._reported_is_new = False
        self._replies: deque[tuple[Command, bytes]] = deque()
        self._live: dict[str, bytes] = {}

    def report(self, document: bytes) -> None:
        """Take a newer reported twin."""
        self._reported, self._reported_is_new = document, True

    def reply(self, command: Command, payload: bytes) -> None:
        """Take the answer to a command."""
        self._replies.append((command, payload))

    def mention(self, name: str, document: bytes) -> None:
        """Take the newest prediction of an input, in place of one that was not sent yet."""
        self._live[name] = document

    def will(self) -> Will:
        """Return what the broker shall say for us when we fall silent."""
        return Will(self._topic(Kind.PRESENCE), Presence(online=False).dump())

    def greet(self, boot_id: str) -> None:
        """Say that we are here, and have the reported twin told once more."""
        presence = Presence(online=True, boot_id=boot_id)
        self._transport.publish(self._topic(Kind.PRESENCE), presence.dump(), retain=True)
        # Always: a broker that lost its disk may know our session and not our retained word.
        self._reported_is_new = bool(self._reported)

    def send(self) -> None:
        """Send the reported twin if it is new, and every reply that waits."""
        if self._reported_is_new:
            self._reported_is_new = False
            self._transport.publish(self._topic(Kind.REPORTED), self._reported, retain=True)
        while self._replies:
            command, payload = self._replies[0]
            self._transport.publish(command.reply_to, payload, correlation=command.correlation)
            self._replies.popleft()  # one whose connection broke goes with the next

    def send_live(self) -> None:
        """Mention the newest predictions."""
        live, self._live = self._live, {}
        for document in live.values():
            self._transport.mention(self._topic(Kind.LIVE), document)

    def say_goodbye(self) -> None:
        """Send what waits, and that we go."""
        self.send()
        gone = self.will()
        self._transport.publish(gone.topic, gone.payload, retain=True)

    def _topic(self, kind: Kind) -> str:
        return topics.topic(self._device, kind)

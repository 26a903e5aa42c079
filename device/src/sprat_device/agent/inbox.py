"""What the MQTT thread and signals leave for the main thread; they only enqueue."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass, field

from sprat_device.contract.twin import Desired
from sprat_device.telemetry.hub_words import Command


@dataclass(frozen=True, slots=True)
class Reload:
    """Somebody at the board asks that the settings be read again."""


Mail = Desired | Command | Reload


@dataclass(slots=True)
class Inbox:
    """Desired states, commands and reloads, in the order in which they came."""

    mail: queue.SimpleQueue[Mail] = field(default_factory=queue.SimpleQueue)

    def put(self, mail: Mail) -> None:
        """Leave a letter."""
        self.mail.put(mail)

    def wait(self, timeout_s: float) -> Iterator[Mail]:
        """Give what is there, after waiting so long for a first letter."""
        try:
            yield self.mail.get(timeout=timeout_s) if timeout_s > 0 else self.mail.get_nowait()
            while True:
                yield self.mail.get_nowait()
        except queue.Empty:
            return

"""Desired twins, changed and sent: the store is the truth, the broker's retained message a copy of it.

What cannot be sent now is not queued: at the next connection everything is sent again. Call `change` outside of other
transactions: what is sent is what was committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sprat.hub.errors import NotFound
from sprat.hub.fleet import twin
from sprat.hub.store.fleet import FleetStore
from sprat_device.contract import topics
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.twin import Desired, Offer


class Publish(Protocol):
    """Sends one message over the broker, or tells that it could not."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool) -> bool:
        """Return whether the message is on its way."""


@dataclass(frozen=True, slots=True)
class Twins:
    """Changes what is wanted of devices."""

    store: FleetStore
    publish: Publish
    now_us: Callable[[], int]
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def offer(self, device: DeviceId, model: str, offer: Offer | None) -> Desired:
        """Offer a release of one model to a device, or nothing of it any more."""
        return self.change(device, lambda desired: twin.with_offer(desired, model, offer))

    def change(self, device: DeviceId, edit: Callable[[Desired], Desired]) -> Desired:
        """Persist what `edit` makes of a device's desired twin, then send it if it changed."""
        with self.store.transaction():
            found = self.store.devices.get(device)
            if found is None or found.revoked_us:
                raise NotFound(f"device {device!r}: not in the fleet; `sprat fleet list` shows who is")
            before = self._current(device)
            after = edit(before)
            if after != before:
                self.store.desired.put(device, after, self.now_us())
        if after != before:
            self._send(device)
        return after

    def send_all(self) -> int:
        """Send every desired twin again; returns how many."""
        everyone = self.store.desired.all()
        for device in everyone:
            self._send(device)
        return len(everyone)

    def clear(self, device: DeviceId) -> None:
        """Remove what the broker retains of a device that was revoked."""
        for kind in (topics.Kind.DESIRED, topics.Kind.REPORTED, topics.Kind.PRESENCE):
            self.publish(topics.topic(device, kind), b"", retain=True)

    def _current(self, device: DeviceId) -> Desired:
        incarnation = self.store.incarnation()
        return twin.under(self.store.desired.get(device) or twin.first(incarnation), incarnation)

    def _send(self, device: DeviceId) -> None:
        # Read again under the lock: of two changes at once, the later one must be what the broker retains.
        with self._sending:
            desired = self.store.desired.committed(device)
            if desired is not None:
                current = twin.under(desired, self.store.incarnation())
                self.publish(topics.topic(device, topics.Kind.DESIRED), current.dump(), retain=True)

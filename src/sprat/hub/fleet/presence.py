"""What devices tell of themselves: presence and reported twins, kept in batches of one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sprat.hub.store.fleet import FleetStore
from sprat_device.contract import topics, twin
from sprat_device.contract.errors import ContractError
from sprat_device.contract.topics import Kind

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """One message as it came."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Presence:
    """Keeps who is here and what they tell."""

    store: FleetStore
    now_us: Callable[[], int]

    def keep(self, batch: Iterable[Heard]) -> None:
        """Keep a batch; a message that cannot be read is logged and left out."""
        now_us = self.now_us()
        with self.store.transaction():
            for heard in batch:
                try:
                    self._keep(heard, now_us)
                except ContractError as exc:
                    _log.warning("%s: %s", heard.topic[:120], exc)

    def everyone_away(self) -> None:
        """Mark all as away: at the hub's start, and when its broker is gone; who is here will say so."""
        now_us = self.now_us()
        with self.store.transaction():
            for device in self.store.devices.all():
                if device.online:
                    self.store.devices.presence(device.id, online=False, boot_id=device.boot_id, now_us=now_us)

    def _keep(self, heard: Heard, now_us: int) -> None:
        if not heard.payload:
            return  # a retained message that was cleared
        topic = topics.parse(heard.topic)
        device = self.store.devices.get(topic.device)
        if device is None or device.revoked_us:
            _log.warning("%s: not in the fleet", topic.device)
            return
        match topic.kind:
            case Kind.PRESENCE:
                told = twin.parse_presence(heard.payload)
                self.store.devices.presence(topic.device, online=told.online, boot_id=told.boot_id, now_us=now_us)
            case Kind.REPORTED:
                self.store.reported.put(topic.device, twin.parse_reported(heard.payload), now_us)
                self.store.devices.seen(topic.device, now_us)
            case _:
                _log.warning("%s: nobody asked for it", heard.topic[:120])

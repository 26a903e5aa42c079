"""MQTT topics, both ways: `frames("d1")` makes one, `parse(...)` reads it. No topic literal stands anywhere else.

`up` and `down` come right after the device, so that the broker's rights are two lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.ids import DeviceId, device_id

PREFIX: Final = "sprat/v1"


class Kind(StrEnum):
    """What a topic carries; the value is its path below the device."""

    FRAMES = "up/frames"
    LIVE = "up/live"
    PRESENCE = "up/presence"
    REPORTED = "up/reported"
    REPLY = "up/reply"
    DESIRED = "down/desired"
    ACK = "down/ack"
    COMMAND = "down/command"


_WITH_NAME: Final = frozenset({Kind.REPLY, Kind.COMMAND})


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed topic; `name` is the command's name or the reply's id, else empty."""

    device: DeviceId
    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        """Return the topic as it goes over the wire."""
        return f"{PREFIX}/{self.device}/{self.kind}" + (f"/{self.name}" if self.name else "")


def topic(device: DeviceId, kind: Kind, name: str = "") -> str:
    """Make the topic of one device."""
    if bool(name) != (kind in _WITH_NAME):
        raise ContractError(
            f"topic {kind}: {'needs a name' if kind in _WITH_NAME else f'takes no name, found {name!r}'}"
        )
    return str(Topic(device, kind, name))


def frames(device: DeviceId) -> str:
    """Make the topic on which a device sends its frames."""
    return topic(device, Kind.FRAMES)


def ack(device: DeviceId) -> str:
    """Make the topic on which the hub acks frames."""
    return topic(device, Kind.ACK)


def of_all_devices(kind: Kind, *, share: str = "") -> str:
    """Make the hub's subscription to one kind of all devices, shared between the workers of group `share`."""
    wanted = f"{PREFIX}/+/{kind}" + ("/+" if kind in _WITH_NAME else "")
    return f"$share/{share}/{wanted}" if share else wanted


def commands_for(device: DeviceId) -> str:
    """Make a device's subscription to its commands."""
    return f"{PREFIX}/{device}/{Kind.COMMAND}/+"


def rights(username: str = "%u") -> tuple[str, ...]:
    """Return the broker's two lines of rights for devices, `%u` being the certificate's common name."""
    return (f"pattern write {PREFIX}/{username}/up/#", f"pattern read {PREFIX}/{username}/down/#")


def hub_rights() -> tuple[str, ...]:
    """Return the broker's rights of the hub's own client: the mirror image of a device's."""
    return (f"topic read {PREFIX}/+/up/#", f"topic write {PREFIX}/+/down/#")


def parse(raw: str) -> Topic:
    """Read a topic, or raise ContractError."""
    parts = raw.split("/")
    if len(parts) not in (5, 6) or "/".join(parts[:2]) != PREFIX:
        raise ContractError(f"topic {raw[:120]!r}: expected {PREFIX}/<device>/<up|down>/<kind>")
    try:
        kind = Kind("/".join(parts[3:5]))
    except ValueError as exc:
        raise ContractError(f"topic {raw[:120]!r}: unknown kind {'/'.join(parts[3:5])!r}") from exc
    name = parts[5] if len(parts) == 6 else ""
    if bool(name) != (kind in _WITH_NAME):
        raise ContractError(f"topic {raw[:120]!r}: {'a name is missing' if kind in _WITH_NAME else 'too many levels'}")
    return Topic(device_id(parts[2]), kind, name)

"""What the hub says to this device: an ack, a desired state or a command, read from the message that brought it.

Whoever may publish under `down` is believed no further than the contract goes: a reply goes only to this device's own
topic, and what cannot be read is a ContractError for the caller to tell of and ignore.
"""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.contract import acks, topics, twin
from sprat_device.contract.acks import Ack
from sprat_device.contract.errors import ContractError
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.topics import Kind
from sprat_device.contract.twin import Desired
from sprat_device.telemetry.transport import Message


@dataclass(frozen=True, slots=True)
class Command:
    """The hub asks something; the answer goes to `reply_to` with `correlation`."""

    name: str
    payload: bytes
    reply_to: str
    correlation: bytes


def topics_for(device: DeviceId) -> tuple[str, ...]:
    """Return the topics over which the hub speaks to a device."""
    return topics.topic(device, Kind.DESIRED), topics.topic(device, Kind.ACK), topics.commands_for(device)


def read(message: Message, device: DeviceId) -> Ack | Desired | Command | None:
    """Return what a message says, None where that is nothing; ContractError where it cannot be read."""
    topic = topics.parse(message.topic)
    match topic.kind:
        case Kind.ACK:
            return acks.parse(message.payload)
        case Kind.DESIRED if message.payload:  # an empty one is how a broker's retained message is taken away
            return twin.parse_desired(message.payload)
        case Kind.COMMAND:
            return _command(topic.name, message, device)
    return None


def _command(name: str, message: Message, device: DeviceId) -> Command:
    reply = topics.parse(message.reply_to)
    if (reply.device, reply.kind) != (device, Kind.REPLY):
        raise ContractError(f"command {name}: reply to {message.reply_to[:120]!r}, expected this device's own")
    return Command(name, message.payload, message.reply_to, message.correlation)

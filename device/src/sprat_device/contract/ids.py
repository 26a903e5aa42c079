"""Names that travel in topics, paths and certificates: a closed alphabet, so that no name can be a path trick.

A name is 1 to 63 characters of `a-z 0-9 . _ -`, begins and ends with a letter or digit and has no `..`.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from sprat_device.contract.errors import ContractError

DeviceId = NewType("DeviceId", str)
ModelName = NewType("ModelName", str)
Channel = NewType("Channel", str)
Digest = NewType("Digest", str)
"""SHA-256, 64 lowercase hex digits."""

NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,61}[a-z0-9]|[a-z0-9]", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
RESERVED: Final = frozenset({"hub", "ingest", "console", "admin", "root", "targets", "snapshot", "timestamp", "all"})


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or NAME.fullmatch(value) is None:
        raise ContractError(
            f"{what} {value!r}: expected 1-63 of a-z 0-9 . _ -, beginning and ending with a letter or digit"
        )
    if value in RESERVED:
        raise ContractError(f"{what} {value!r} is reserved; choose another name")
    return value


def device_id(value: object) -> DeviceId:
    """Return `value` as a device id, or raise ContractError."""
    return DeviceId(_name(value, "device id"))


def model_name(value: object) -> ModelName:
    """Return `value` as a model name, or raise ContractError."""
    return ModelName(_name(value, "model name"))


def channel(value: object) -> Channel:
    """Return `value` as a channel, or raise ContractError."""
    return Channel(_name(value, "channel"))


def digest(value: object) -> Digest:
    """Return `value` as a SHA-256 in hex, or raise ContractError."""
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise ContractError(f"digest {str(value)[:80]!r}: expected 64 lowercase hex digits")
    return Digest(value)


def target_path(channel_: Channel, model: ModelName, release_seq: int, target: str) -> str:
    """Name a bundle inside the signed repository."""
    return f"{channel_}/{model}/{release_seq}/{target}.sprat"

"""Who this device is: its key and certificate, the hub and signing root that it pins, its channel and its models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError, MachineLacks
from sprat_device.contract.fields import Fields
from sprat_device.contract.ids import Channel, DeviceId, ModelName, channel, device_id, model_name

SCHEMA: Final = "sprat.identity/1"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device pinned when it enrolled; the paths are those of its secrets."""

    device: DeviceId
    hub_url: str
    mqtt_host: str
    mqtt_port: int
    channel: Channel
    models: tuple[ModelName, ...]
    folder: Path

    @property
    def key(self) -> Path:
        """Return the private key's file."""
        return self.folder / "device.key"

    @property
    def certificate(self) -> Path:
        """Return the certificate's file."""
        return self.folder / "device.crt"

    @property
    def ca(self) -> Path:
        """Return the pinned CA's file."""
        return self.folder / "ca.pem"

    @property
    def root(self) -> Path:
        """Return the pinned signing root's file."""
        return self.folder / "root.json"


def load(state: Path) -> Identity:
    """Read the identity, or raise MachineLacks."""
    folder = state / "identity"
    path = folder / "identity.json"
    try:
        return _parsed(json.loads(path.read_bytes()), folder)
    except FileNotFoundError as exc:
        raise MachineLacks(f"no identity in {state}; get one with: sprat-device enrol --hub URL --token TOKEN") from exc
    except (ValueError, ContractError) as exc:
        raise MachineLacks(f"{path} is damaged ({exc}); enrol this device again") from exc


def _parsed(raw: object, folder: Path) -> Identity:
    fields = Fields(raw, "identity")
    fields.schema(SCHEMA)
    return Identity(
        device=fields.value("device", device_id),
        hub_url=fields.text("hub_url", max_length=1024),
        mqtt_host=fields.text("mqtt_host", max_length=255),
        mqtt_port=fields.integer("mqtt_port", minimum=1, maximum=65535),
        channel=fields.value("channel", channel),
        models=fields.items("models", lambda value, _where: model_name(value)),
        folder=folder,
    )


def store(identity: Identity, files: Files) -> None:
    """Write the identity's record; its secrets stand beside it already."""
    document: Mapping[str, object] = {
        "schema": SCHEMA,
        "device": identity.device,
        "hub_url": identity.hub_url,
        "mqtt_host": identity.mqtt_host,
        "mqtt_port": identity.mqtt_port,
        "channel": identity.channel,
        "models": list(identity.models),
    }
    files.write_atomic(identity.folder / "identity.json", json.dumps(document, indent=1).encode())

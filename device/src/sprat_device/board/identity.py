"""Who this device is: its key and certificate, the hub and signing root that it pins, its channel and its models."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat_device.board import twice
from sprat_device.board.files import Files, OsFiles
from sprat_device.contract.errors import MachineLacks
from sprat_device.contract.fields import Fields
from sprat_device.contract.ids import Channel, DeviceId, ModelName, channel, device_id, model_name

SCHEMA: Final = "sprat.identity/1"
REPLACEMENT: Final = "replacement"
"""Folder of the state folder in which `board replace` makes the next identity."""
_NAME: Final = "identity.json"
_LOG: Final = logging.getLogger("sprat.agent")


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
    path = folder / _NAME
    found = twice.read(OsFiles(), path, lambda raw: _parsed(json.loads(raw), folder))
    if found.value is not None:
        if found.fault:
            _LOG.error("%s is damaged (%s), its copy counts; look at the card", path, found.fault)
        return found.value
    if found.fault:
        raise MachineLacks(f"{path} is damaged ({found.fault}); enrol this device again")
    raise MachineLacks(f"no identity in {state}; get one with: sprat-device enrol --hub URL --token TOKEN")


def finish_replacement(state: Path, files: Files) -> None:
    """Give the next identity its name where a power cut left none: between the two renames of `board replace`."""
    folder, staged = state / "identity", state / REPLACEMENT / "identity"
    if files.exists(folder) or not files.exists(staged / _NAME):
        return
    try:
        files.rename(staged, folder)
        files.sync_folder(state)
    except OSError as exc:
        _LOG.error("the identity in %s cannot be taken up, for the disk does not take it (%s)", staged, exc)


def keep_copy(identity: Identity, files: Files) -> None:
    """See to it that the record has a copy; a damaged one is written anew from what was read."""
    path = identity.folder / _NAME
    try:
        whole = twice.read(files, path, lambda raw: _parsed(json.loads(raw), identity.folder))
        if whole.value is not None and whole.fault:
            files.write_atomic(path, files.read(twice.copy_of(path)))
        elif whole.value is not None:
            twice.renew_copy(files, path)
    except OSError as exc:
        _LOG.warning("%s has no copy, for the disk does not take it (%s)", path, exc)


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
    twice.write(files, identity.folder / _NAME, json.dumps(document, indent=1).encode())

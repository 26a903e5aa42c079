"""Whether a device is connected, `sprat.presence/1`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from sprat_device.contract.twin import document

SCHEMA: Final = "sprat.presence/1"


@dataclass(frozen=True, slots=True)
class Presence:
    """Retained `up/presence`: the device while it is connected, the broker's last will after that."""

    online: bool
    boot_id: str = ""

    def dump(self) -> bytes:
        """Encode for the wire."""
        return document.dump(SCHEMA, asdict(self))


def parse_presence(raw: bytes) -> Presence:
    """Read a presence document, or raise ContractError."""
    fields = document.parse(raw, "presence", SCHEMA)
    return Presence(fields.boolean("online"), fields.text("boot_id", default="", max_length=64))

"""What a look at the hub found, `look.json`: the updater leaves it for the agent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sprat_device.board.files import Files
from sprat_device.contract import twin
from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.twin import MAX_SIZE, Desired

SCHEMA: Final = "sprat.look/1"
FILE_NAME: Final = "look.json"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found; empty texts where nothing was wrong."""

    desired: str = ""
    """The desired twin as the hub sent it."""
    certificate_ends_us: int = 0
    """End of a certificate that was renewed, 0 where none was."""
    not_renewed: str = ""
    reason: str = ""
    detail: str = ""
    """Why the signed metadata was refused."""

    def dump(self) -> bytes:
        """Encode for the disk."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({"schema": SCHEMA, **plain}, sort_keys=True).encode()

    def wanted(self) -> Desired | None:
        """Return the desired twin, None where the hub told none that can be read."""
        try:
            return twin.parse_desired(self.desired.encode()) if self.desired else None
        except ContractError:
            return None  # what a later hub says stays unread here, as it does over the broker


def store(found: Look, state: Path, files: Files) -> None:
    """Leave a look for the agent; the same one again costs no write."""
    path, raw = state / FILE_NAME, found.dump()
    try:
        same = files.read(path) == raw
    except OSError:
        same = False
    if not same:
        files.write_atomic(path, raw)


def load(state: Path, files: Files) -> Look | None:
    """Return the last look, None where there was none that can be read."""
    try:
        raw: Any = json.loads(files.read(state / FILE_NAME))
        fields = Fields(raw, "look")
        fields.schema(SCHEMA)
        texts = {
            name: fields.text(name, max_length=MAX_SIZE) for name in ("desired", "not_renewed", "reason", "detail")
        }
        return Look(certificate_ends_us=fields.integer("certificate_ends_us"), **texts)
    except (OSError, ValueError, ContractError):
        return None

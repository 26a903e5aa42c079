"""The hub's word after its commit: these frames are safe, the device may forget them (PUBACK is transport only)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.phases import Lane

SCHEMA: Final = "sprat.ack/1"
_EPOCH: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ack:
    """Ranges of seq, both ends included, of one lane in one epoch; `new_epoch` tells a cloned spool to start anew.

    `frames` names each frame of the ranges by (seq, its checksum): of two devices with one identity, each takes for
    acked only what is its own. Empty from a hub that does not tell.
    """

    epoch: int
    lane: Lane
    ranges: tuple[tuple[int, int], ...]
    new_epoch: bool = False
    frames: tuple[tuple[int, int], ...] = ()

    def dump(self) -> bytes:
        """Encode for the wire."""
        document = {
            "schema": SCHEMA, "epoch": f"{self.epoch:016x}", "lane": self.lane, "ranges": self.ranges,
            "new_epoch": self.new_epoch, "frames": self.frames,
        }  # fmt: skip
        return json.dumps(document, separators=(",", ":")).encode()


def parse(raw: bytes) -> Ack:
    """Read an ack, or raise ContractError."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ContractError(f"ack: not JSON ({exc})") from exc
    fields = Fields(document, "ack")
    fields.schema(SCHEMA)
    return Ack(
        epoch=fields.value("epoch", _epoch),
        lane=fields.choice("lane", Lane),
        ranges=fields.items("ranges", _range),
        new_epoch=fields.boolean("new_epoch", default=False),
        frames=fields.items("frames", _frame, default=()),
    )


def _epoch(raw: object) -> int:
    if not isinstance(raw, str) or _EPOCH.fullmatch(raw) is None:
        raise ContractError(f"found {str(raw)[:80]!r}, expected 16 lowercase hex digits")
    return int(raw, 16)


def _range(raw: object, where: str) -> tuple[int, int]:
    match raw:
        case [int(first), int(last)] if 0 <= first <= last < 2**64:
            return first, last
        case _:
            raise ContractError(f"{where}: expected [first, last] with 0 <= first <= last")


def _frame(raw: object, where: str) -> tuple[int, int]:
    match raw:
        case [int(seq), int(checksum)] if 0 <= seq < 2**64 and 0 <= checksum < 2**32:
            return seq, checksum
        case _:
            raise ContractError(f"{where}: expected [seq, checksum]")

"""What a lane must know that its frames do not tell: counters, the next seq, which frames wait, which losses are untold.

Written atomically at the lane's birth, before a segment is removed and at close. Counters and waiting ranges are of
one moment, so what happened after it is either found in the frames or forgotten on both sides of the ledger.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields

SCHEMA: Final = "sprat.lane/1"
FILE_NAME: Final = "state"
FILES: Final = frozenset({FILE_NAME, f".{FILE_NAME}.new"})
"""In a lane's folder: the checkpoint, and one that is being written."""
_PLAIN_BYTES: Final = 220
"""Names, checksum and counters, each of up to twenty digits."""
_RECORDS_DIGITS: Final = 10
"""Of the records of one segment."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of one lane; counters in records, `waiting` ranges of seq with both ends.

    `untold`: evicted and perhaps not told yet, as first seq, last seq, records.
    """

    next_seq: int = 0
    produced: int = 0
    acked: int = 0
    evicted: int = 0
    damaged: int = 0
    waiting: tuple[tuple[int, int], ...] = ()
    untold: tuple[tuple[int, int, int], ...] = ()

    def dump(self) -> bytes:
        """Encode, checksum first."""
        plain = json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":")).encode()
        return b"%08x %s" % (zlib.crc32(plain), plain)


def most_bytes(runs: int, *, gaps: int, next_seq: int) -> int:
    """Return what a checkpoint with so many waiting ranges and untold gaps takes at most."""
    both_ends = 2 * len(str(next_seq))
    return _PLAIN_BYTES + runs * (both_ends + len("[,],")) + gaps * (both_ends + _RECORDS_DIGITS + len("[,,],"))


def parse(raw: bytes) -> Checkpoint:
    """Read a checkpoint, or raise ContractError."""
    crc, _, plain = raw.partition(b" ")
    if crc != b"%08x" % zlib.crc32(plain):
        raise ContractError("lane state: checksum does not match its bytes")
    try:
        document = json.loads(plain)
    except (ValueError, RecursionError) as exc:
        raise ContractError(f"lane state: not JSON ({exc})") from exc
    fields = Fields(document, "lane state")
    fields.schema(SCHEMA)
    return Checkpoint(
        next_seq=fields.integer("next_seq"),
        produced=fields.integer("produced"),
        acked=fields.integer("acked"),
        evicted=fields.integer("evicted"),
        damaged=fields.integer("damaged"),
        waiting=fields.items("waiting", _run),
        untold=fields.items("untold", _gap, default=()),
    )


def _run(raw: object, where: str) -> tuple[int, int]:
    match raw:
        case [int(first), int(last)] if 0 <= first <= last:
            return first, last
        case _:
            raise ContractError(f"{where}: expected [first, last]")


def _gap(raw: object, where: str) -> tuple[int, int, int]:
    match raw:
        case [int(first), int(last), int(records), *_] if 0 <= first <= last:
            return first, last, records
        case _:
            raise ContractError(f"{where}: expected [first, last, records]")

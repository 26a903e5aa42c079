"""A frame: many records, encoded once; spooled, sent and stored as the same bytes.

A fixed little-endian header, then a body (records.py). The CRC-32 covers the header (its own field as zero) and the
body. `header_size` stands in the header, so a later minor version may append fields that this one skips; an unknown
major version is kept raw, never dropped. The ledger's counters are cumulative over the lane in this epoch, in records:
produced = acked + spooled + open + evicted + damaged, with this frame counted as spooled.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.phases import ClockState, Lane

MAGIC: Final = b"SPRF"
MAJOR: Final = 1
MINOR: Final = 0
MAX_RECORDS: Final = 500
MAX_BODY: Final = 64 * 1024
MAX_CAPTURE_BODY: Final = 1024 * 1024 + 4096
"""A capture may be one record of up to 1 MiB."""

_LAYOUT: Final = struct.Struct("<4sBBBBHHI QQ 16s QQqq QQQQ II")
HEADER_SIZE: Final = _LAYOUT.size
_CRC_SIZE: Final = 4
_LANES: Final = tuple(Lane)
_CLOCKS: Final = tuple(ClockState)


class UnknownFrameVersion(ContractError):
    """A whole frame of a later major version: keep its bytes."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Cumulative records of one lane in one epoch."""

    produced: int = 0
    acked: int = 0
    evicted: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame says of itself; times in microseconds, wall time since 1970 in UTC.

    The wall times are those of the first and last record by the wall clock, and its `clock` state, of the frame's close.
    """

    lane: Lane
    epoch: int
    seq: int
    count: int
    boot_id: bytes
    mono_first_us: int
    mono_last_us: int
    wall_first_us: int
    wall_last_us: int
    clock: ClockState
    ledger: Ledger
    body_size: int = 0
    minor: int = MINOR

    @property
    def epoch_hex(self) -> str:
        """Return the epoch as acks and consoles write it."""
        return f"{self.epoch:016x}"


@dataclass(frozen=True, slots=True)
class Frame:
    """A header and its body, with the very bytes it was read from."""

    header: FrameHeader
    body: bytes
    raw: bytes


def seal(header: FrameHeader, body: bytes) -> bytes:
    """Encode one frame."""
    limit = MAX_CAPTURE_BODY if header.lane is Lane.CAPTURES else MAX_BODY
    if len(body) > limit or not 1 <= header.count <= MAX_RECORDS:
        raise ContractError(
            f"frame of {header.count} records and {len(body)} bytes: expected 1-{MAX_RECORDS} records and at most {limit} bytes"
        )
    head = _pack(header, body_size=len(body), crc=0)
    return head[:-_CRC_SIZE] + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


def open_frame(raw: bytes) -> Frame:
    """Decode one whole frame, its CRC included; ContractError tells what is wrong, UnknownFrameVersion what to keep."""
    header, header_size = peek(raw)
    if len(raw) != header_size + header.body_size:
        raise ContractError(f"frame of {len(raw)} bytes: its header says {header_size + header.body_size}")
    zeroed = raw[: HEADER_SIZE - _CRC_SIZE] + bytes(_CRC_SIZE) + raw[HEADER_SIZE:]
    (crc,) = struct.unpack_from("<I", raw, HEADER_SIZE - _CRC_SIZE)
    if zlib.crc32(zeroed) != crc:
        raise ContractError(f"frame {header.lane} seq {header.seq}: checksum does not match its bytes")
    return Frame(header, raw[header_size:], raw)


def checksum(raw: bytes) -> int:
    """Return the checksum in the header of a whole frame; its bytes are not checked again."""
    (crc,) = struct.unpack_from("<I", raw, HEADER_SIZE - _CRC_SIZE)
    return int(crc)


def peek(raw: bytes | memoryview) -> tuple[FrameHeader, int]:
    """Read the header alone (no CRC check): the header and its size, so a reader knows where the frame ends."""
    if len(raw) < HEADER_SIZE:
        raise ContractError(f"frame of {len(raw)} bytes: shorter than its header of {HEADER_SIZE}")
    (
        magic, major, minor, lane, clock, header_size, _flags, count, epoch, seq, boot_id,
        mono_first, mono_last, wall_first, wall_last, produced, acked, evicted, damaged, body_size, _crc,
    ) = _LAYOUT.unpack_from(raw)  # fmt: skip
    if magic != MAGIC:
        raise ContractError(f"frame: begins with {bytes(magic)!r}, expected {MAGIC!r}")
    if major != MAJOR:
        raise UnknownFrameVersion(f"frame: major version {major}, this version reads {MAJOR}")
    if lane >= len(_LANES) or clock >= len(_CLOCKS) or header_size < HEADER_SIZE or not 1 <= count <= MAX_RECORDS:
        raise ContractError(f"frame: impossible header (lane {lane}, clock {clock}, size {header_size}, count {count})")
    if body_size > MAX_CAPTURE_BODY:
        raise ContractError(f"frame: body of {body_size} bytes, at most {MAX_CAPTURE_BODY} are allowed")
    header = FrameHeader(
        lane=_LANES[lane], epoch=epoch, seq=seq, count=count, boot_id=boot_id, mono_first_us=mono_first,
        mono_last_us=mono_last, wall_first_us=wall_first, wall_last_us=wall_last, clock=_CLOCKS[clock],
        ledger=Ledger(produced, acked, evicted, damaged), body_size=body_size, minor=minor,
    )  # fmt: skip
    return header, header_size


def _pack(header: FrameHeader, *, body_size: int, crc: int) -> bytes:
    ledger = header.ledger
    return _LAYOUT.pack(
        MAGIC, MAJOR, MINOR, _LANES.index(header.lane), _CLOCKS.index(header.clock), HEADER_SIZE, 0, header.count,
        header.epoch, header.seq, header.boot_id, header.mono_first_us, header.mono_last_us, header.wall_first_us,
        header.wall_last_us, ledger.produced, ledger.acked, ledger.evicted, ledger.damaged, body_size, crc,
    )  # fmt: skip

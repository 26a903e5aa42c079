"""One segment file of a lane: whole frames back to back, and an index of them in memory (11 bytes a frame, for the spool may hold very many).

`scan` believes nothing: a frame counts only with its checksum, its place in the lane and a plausible seq; what lies
between is skipped, what lies behind the last one is a torn tail.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.frame import HEADER_SIZE, MAGIC, FrameHeader, open_frame, peek
from sprat_device.contract.phases import Lane

SUFFIX: Final = ".seg"


def name(first_seq: int) -> str:
    """Name the file whose first frame has this seq; names sort as numbers do."""
    return f"{first_seq:020d}{SUFFIX}"


def first_seq_of(path: Path) -> int | None:
    """Return the seq that a file's name promises, None if it is no segment."""
    return int(path.stem) if path.suffix == SUFFIX and path.stem.isdecimal() else None


@dataclass(slots=True)
class Segment:
    """The index of one file; `size` is its length, `end` where its last whole frame ends (a torn tail lies between)."""

    path: Path
    first_seq: int
    size: int = 0
    waiting_records: int = 0
    _begins: array[int] = field(default_factory=lambda: array("I"))
    _ends: array[int] = field(default_factory=lambda: array("I"))
    _counts: array[int] = field(default_factory=lambda: array("H"))
    _waiting: bytearray = field(default_factory=bytearray)
    _runs: int | None = None

    @property
    def next_seq(self) -> int:
        """Return the seq behind its last frame."""
        return self.first_seq + len(self._waiting)

    @property
    def end(self) -> int:
        """Return where its last whole frame ends."""
        return self._ends[-1] if self._ends else 0

    def add(self, begin: int, end: int, *, count: int, waiting: bool) -> None:
        """Index the next frame by its place in the file; a count of 0 stands for one that is unreadable."""
        self._begins.append(begin)
        self._ends.append(end)
        self._counts.append(count)
        self._waiting.append(waiting and count > 0)
        self._runs = None
        self.size = end
        self.waiting_records += count if waiting else 0

    def place(self, seq: int) -> tuple[int, int]:
        """Return where a frame begins and ends."""
        i = seq - self.first_seq
        return self._begins[i], self._ends[i]

    def settle(self, first: int, last: int) -> int:
        """Mark frames as not waiting any more; return the records of those that did."""
        begin, end = max(0, first - self.first_seq), min(len(self._waiting), last - self.first_seq + 1)
        records = 0
        i = self._waiting.find(1, begin, max(begin, end))
        while i >= 0:
            self._waiting[i] = 0
            records += self._counts[i]
            i = self._waiting.find(1, i + 1, end)
        self.waiting_records -= records
        self._runs = None
        return records

    @property
    def run_count(self) -> int:
        """Return how many `runs` there are."""
        if self._runs is None:
            self._runs = self._waiting.count(b"\x00\x01") + self._waiting.startswith(b"\x01")
        return self._runs

    def next_waiting(self, start: int) -> int | None:
        """Return the first waiting seq at or after `start`."""
        i = self._waiting.find(1, max(0, start - self.first_seq))
        return None if i < 0 else self.first_seq + i

    def runs(self) -> Iterator[tuple[int, int]]:
        """Return the waiting frames as ranges, both ends included."""
        begin = self._waiting.find(1)
        while begin >= 0:
            end = self._waiting.find(0, begin)
            end = len(self._waiting) if end < 0 else end
            yield self.first_seq + begin, self.first_seq + end - 1
            begin = self._waiting.find(1, end)


@dataclass(frozen=True, slots=True)
class Found:
    """A frame that a scan believes."""

    header: FrameHeader
    begin: int
    end: int


def scan(raw: bytes, *, epoch: int, lane: Lane, first_seq: int) -> Iterator[Found]:
    """Find the whole frames of one lane in a segment's bytes, their seq rising."""
    offset, expected = 0, first_seq
    while offset + HEADER_SIZE <= len(raw):
        found = _frame_at(raw, offset)
        # A jump of seq is bounded by the bytes that could have held the lost frames.
        if (
            found is not None
            and (found.header.epoch, found.header.lane) == (epoch, lane)
            and 0 <= found.header.seq - expected <= offset // HEADER_SIZE
        ):
            yield found
            offset, expected = found.end, found.header.seq + 1
            continue
        offset = raw.find(MAGIC, offset + 1)
        if offset < 0:
            return


def _frame_at(raw: bytes, offset: int) -> Found | None:
    try:
        header, header_size = peek(memoryview(raw)[offset:])
        end = offset + header_size + header.body_size
        return Found(open_frame(raw[offset:end]).header, offset, end)
    except ContractError:
        return None

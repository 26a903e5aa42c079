"""What to evict when the spool is full: a pure decision over its segments.

What the hub has already goes first, then captures, the backlog of predictions, summaries, and events last; within a
lane the oldest. A frame never pushes out what is worth more than itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sprat_device.contract.phases import Lane

_WORTH: Final = {lane: -place for place, lane in enumerate(Lane)}


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """One segment as the decision sees it; `generation` counts epochs, the current one has the highest."""

    lane: Lane
    generation: int
    first_seq: int
    size: int
    waiting_records: int


def to_evict(segments: Iterable[SegmentFacts], *, need_bytes: int, incoming: Lane) -> list[SegmentFacts] | None:
    """Choose segments whose removal frees `need_bytes` for a frame of lane `incoming`; None if none may go."""
    chosen: list[SegmentFacts] = []
    freed = 0
    for segment in sorted(segments, key=_order):
        if freed >= need_bytes:
            break
        if segment.size and (not segment.waiting_records or _WORTH[segment.lane] <= _WORTH[incoming]):
            chosen.append(segment)
            freed += segment.size
    return chosen if freed >= need_bytes else None


def _order(segment: SegmentFacts) -> tuple[bool, int, int, int]:
    return segment.waiting_records > 0, _WORTH[segment.lane], segment.generation, segment.first_seq

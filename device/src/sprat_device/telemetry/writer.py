"""Makes frames of records and puts them into the spool; what it must give up it counts, and says so as a gap record.

All of it runs in one thread (the recorder's); `settled` counts records that reached the spool or were given up.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgpack

from sprat_device.board.clock import Clock
from sprat_device.contract.errors import ContractError
from sprat_device.contract.frame import HEADER_SIZE
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Row
from sprat_device.telemetry.draft import Gap
from sprat_device.telemetry.framing import OpenFrame, Records, Whose
from sprat_device.telemetry.spool import Spool, SpoolFull

_log: Final = logging.getLogger(__name__)


def sayable(row: Row) -> Row:
    """Return a row that can be framed; TypeError if its detail is no plain value."""
    try:
        msgpack.packb(dict(row.detail))
    except UnicodeEncodeError:
        # A file's name, or a foreign word, that is no Unicode: who tells of it must not end by it.
        return replace(row, detail=_sayable(row.detail))
    return row


def _sayable(value: Any) -> Any:
    """Return plain values with a question mark for each half of a character."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case Mapping():
            return {_sayable(key): _sayable(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_sayable(entry) for entry in value]
        case _:
            return value


class FrameWriter:
    """Open frames, and what was lost since it was last said."""

    def __init__(self, spool: Spool, clock: Clock, *, interval_us: int) -> None:
        self.settled: Counter[Lane] = Counter()
        self.gap_rows = 0
        self.bytes_framed = 0
        self.handled = 0
        """Frames that were stored or given up."""
        self._spool = spool
        self._clock = clock
        self.interval_us = interval_us
        self._open: dict[Whose, OpenFrame] = {}
        self._lost: Counter[tuple[Lane, str]] = Counter()
        self._evicted: list[Gap] = []
        self._telling: list[Gap] = []
        """Whose records stand in the open frame of events: the spool keeps them until that is on the disk."""

    def take(self, whose: Whose, records: Records) -> None:
        """Put records that belong together into their frame; one that is full is sealed, and a new one begun."""
        while records:
            if (frame := self._open.get(whose)) is None:
                frame = self._open[whose] = OpenFrame(whose, self._clock.monotonic_us())
            records = records[frame.fill(records) :]
            if records:
                self._seal(whose)

    def give_up(self, lane: Lane, records: int, reason: str) -> None:
        """Count records that cannot be kept."""
        self._spool.drop(lane, records)
        self.settled[lane] += records
        self._lost[lane, reason] += records

    def seal_due(self, *, everything: bool = False) -> None:
        """Seal the frames that are due, after telling what was lost."""
        self._tell_gaps()
        now_us = self._clock.monotonic_us()
        for whose, frame in list(self._open.items()):
            if everything or frame.due(now_us, interval_us=self.interval_us):
                self._seal(whose)

    def _seal(self, whose: Whose) -> None:
        frame = self._open.pop(whose)
        try:
            draft = frame.draft(self._clock)
            self._evicted += self._spool.append(draft)
        except ContractError as exc:
            self._cannot_store(frame, "too-big", exc)
        except SpoolFull as exc:
            self._cannot_store(frame, "cap", exc)
        except OSError as exc:
            self._cannot_store(frame, "disk", exc)
        except (struct.error, ArithmeticError, TypeError, ValueError) as exc:
            # A number that no column or header holds must not end the thread, and with it all that is open.
            self._cannot_store(frame, "not-encoded", exc)
        else:
            self.settled[draft.lane] += draft.count
            self.bytes_framed += HEADER_SIZE + len(draft.body)
            if draft.lane is Lane.EVENTS:
                self._spool.told(self._telling)
                self._telling = []
        self.handled += 1

    def _cannot_store(self, frame: OpenFrame, reason: str, exc: Exception) -> None:
        lane, records = frame.whose.lane, len(frame.records)
        if not self._lost:  # once until it has been told: a full disk must not fill the log as well
            _log.warning("telemetry: %d records of %s given up (%s)", records, lane, exc)
        self.give_up(lane, records, reason)
        if lane is Lane.EVENTS:  # their records were among those: they are told again
            self._evicted += self._telling
            self._telling = []

    def _tell_gaps(self) -> None:
        evicted, self._evicted = self._evicted, []
        for gap in evicted:
            self._tell({
                "lane": gap.lane, "epoch": f"{gap.epoch:016x}", "first_seq": gap.first_seq, "last_seq": gap.last_seq,
                "records": gap.records, "reason": "evicted",
            })  # fmt: skip
            self._telling.append(gap)
        lost, self._lost = self._lost, Counter()
        for (lane, reason), records in lost.items():
            self._tell({"lane": lane, "records": records, "reason": reason})

    def _tell(self, detail: dict[str, object]) -> None:
        self.gap_rows += 1
        row = Row("gap", self._clock.monotonic_us(), self._clock.wall_us(), detail)
        self.take(Whose(Lane.EVENTS), [row])

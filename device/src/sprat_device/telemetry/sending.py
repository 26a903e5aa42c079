"""Which frame goes next: live ones before the backlog, events before what is worth less, within the hub's window."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from sprat_device.contract import frame
from sprat_device.contract.acks import Ack
from sprat_device.contract.phases import Lane
from sprat_device.telemetry.pacing import Key, Pace, Window
from sprat_device.telemetry.spool import LogState, Spool

_WORTH: Final = {lane: place for place, lane in enumerate(Lane)}
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class _Cursor:
    """Where the reading of one log stands: the backlog is below `live_from`."""

    live_from: int = 0
    live: int = 0
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A frame to publish now."""

    key: Key
    raw: bytes


class Sending:
    """Chooses frames of a spool; one per connection matters, so `restart` after each connect."""

    def __init__(self, spool: Spool, *, window_frames: int, backlog_bytes_per_s: int) -> None:
        self._spool = spool
        self._window = Window(window_frames)
        self._pace = Pace(backlog_bytes_per_s)
        self._cursors: dict[tuple[int, Lane], _Cursor] = {}
        self._unread = False
        """Whether the last frame could not be read: told once."""

    def configure(self, *, window_frames: int, backlog_bytes_per_s: int) -> None:
        """Take another window and pace; what is under way stays so."""
        self._window.limit = window_frames
        self._pace.bytes_per_s = backlog_bytes_per_s

    def restart(self) -> None:
        """Take everything that waits now as backlog; nothing is under way."""
        self._window.clear()
        self._cursors = {
            (log.epoch, log.lane): _Cursor(live_from=log.next_seq, live=log.next_seq) for log in self._spool.logs()
        }

    def next(self, now: float, *, dice: float) -> Outgoing | None:
        """Return the next frame and count it as under way; None while there is nothing that may go."""
        try:
            outgoing = self._again(now) or self._live(now) or self._backlog(now)
        except OSError as exc:
            # Nothing is lost: no memory or descriptor was left, and the same frame is asked for again.
            if not self._unread:
                _log.warning("uplink: frames cannot be read now (%s), tried again", exc)
            self._unread = True
            return None
        if outgoing is not None:
            self._unread = False
            self._window.sent(outgoing.key, now, dice=dice, checksum=frame.checksum(outgoing.raw))
        return outgoing

    def acked(self, ack: Ack, now: float) -> bool:
        """Free what the hub has of ours; tell whether it names frames of another device under our epoch."""
        own, foreign = self._own(ack)
        self._window.acked(own.epoch, own.lane, own.ranges, now)
        self._spool.ack(own)
        return foreign

    def _own(self, ack: Ack) -> tuple[Ack, bool]:
        log = next((log for log in self._spool.logs() if (log.epoch, log.lane) == (ack.epoch, ack.lane)), None)
        if not ack.frames or log is None:
            return ack, False
        own, foreign = set[int](), False
        for seq, checksum in ack.frames:
            held = self._checksum(log, seq)
            if held == checksum:
                own.add(seq)
            elif held is not None or seq >= log.next_seq:
                foreign = True
        return replace(ack, ranges=_runs(own)), foreign

    def _checksum(self, log: LogState, seq: int) -> int | None:
        """Return the checksum of a frame that waits here, None where none of that seq does."""
        under_way = self._window.checksum((log.epoch, log.lane, seq))
        if under_way is not None:
            return under_way
        entry = self._spool.peek(log.epoch, log.lane, start=seq, stop=seq + 1)
        return frame.checksum(entry[1]) if entry is not None else None

    def nobody_listens(self, key: Key, now: float, *, dice: float) -> None:
        """Back off, the hub is not at the broker."""
        self._window.nobody_listens(key, now, dice=dice)

    def _again(self, now: float) -> Outgoing | None:
        for key in self._window.due(now):
            epoch, lane, seq = key
            entry = self._spool.peek(epoch, lane, start=seq, stop=seq + 1)
            if entry is not None:
                return Outgoing(key, entry[1])
            self._window.forget(key)  # evicted meanwhile
        return None

    def _live(self, now: float) -> Outgoing | None:
        if not self._window.room(now):
            return None
        for log in sorted(self._spool.logs(), key=lambda log: _WORTH[log.lane]):
            cursor = self._cursor(log)
            entry = self._spool.peek(log.epoch, log.lane, start=cursor.live, stop=log.next_seq)
            if entry is not None:
                cursor.live = entry[0] + 1
                return Outgoing((log.epoch, log.lane, entry[0]), entry[1])
        return None

    def _backlog(self, now: float) -> Outgoing | None:
        if not self._window.room(now, backlog=True) or not self._pace.allows(now):
            return None
        for log in sorted(self._spool.logs(), key=lambda log: _WORTH[log.lane]):
            cursor = self._cursor(log)
            entry = self._spool.peek(log.epoch, log.lane, start=cursor.backlog, stop=cursor.live_from)
            if entry is not None:
                cursor.backlog = entry[0] + 1
                self._pace.spend(len(entry[1]))
                return Outgoing((log.epoch, log.lane, entry[0]), entry[1])
        return None

    def _cursor(self, log: LogState) -> _Cursor:
        return self._cursors.setdefault((log.epoch, log.lane), _Cursor())


def _runs(seqs: Iterable[int]) -> tuple[tuple[int, int], ...]:
    runs: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if runs and runs[-1][1] == seq - 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return tuple(runs)

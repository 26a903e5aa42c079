"""A spool without a disk: every record is counted as lost, so that the ledger says so and inference goes on."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Iterable

from sprat_device.contract.acks import Ack
from sprat_device.contract.phases import Lane
from sprat_device.contract.twin import LaneReport
from sprat_device.telemetry.draft import Draft, Gap
from sprat_device.telemetry.spool import LogState


class UnkeptSpool:
    """Takes nothing; it stands in where the spool's folder can be neither opened nor made."""

    def __init__(self, *, epoch: int) -> None:
        self._epoch = epoch
        self._lock = threading.Lock()
        self._lost: Counter[Lane] = Counter()

    def append(self, draft: Draft) -> tuple[Gap, ...]:
        """Refuse; who asked counts the records by `drop`."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), draft.lane)

    def told(self, gaps: Iterable[Gap]) -> None:
        """Let go of nothing: no frame was ever evicted here."""

    def drop(self, lane: Lane, records: int) -> None:
        """Count records that are lost."""
        with self._lock:
            self._lost[lane] += records

    def logs(self) -> tuple[LogState, ...]:
        """Return that there is nothing to send."""
        return ()

    def peek(self, epoch: int, lane: Lane, *, start: int, stop: int) -> tuple[int, bytes] | None:  # noqa: ARG002 - the port's signature
        """Return that nothing waits."""
        return None

    def ack(self, ack: Ack) -> int:  # noqa: ARG002 - the port's signature
        """Free nothing: frames of an earlier run are on a disk that cannot be read, and are acked again later."""
        return 0

    def new_epoch(self) -> None:
        """Do nothing: no frame bears this epoch."""

    def ledger(self) -> dict[Lane, LaneReport]:
        """Return what was produced and lost."""
        with self._lock:
            return {
                lane: LaneReport(f"{self._epoch:016x}", self._lost[lane], 0, 0, 0, self._lost[lane], 0) for lane in Lane
            }

    def close(self) -> None:
        """Nothing is open."""

"""Takes records from the inference loop and never makes it wait: a bounded hand-over, and a thread that writes frames.

What does not fit into the hand-over is counted and becomes a gap record. `ledger()` is of one moment and balances.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.board.days import Moment
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import twin
from sprat_device.contract.frame import MAX_RECORDS
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Origin, Prediction, Row
from sprat_device.contract.twin import Detail, LaneReport
from sprat_device.telemetry.budget import DailyBudget, KeptBudget
from sprat_device.telemetry.detail import wanted
from sprat_device.telemetry.hand_over import HandOver
from sprat_device.telemetry.last_errors import LastErrors
from sprat_device.telemetry.spool import Spool
from sprat_device.telemetry.writer import FrameWriter, sayable

QUEUE_RECORDS: Final = 8192
_PASS_S: Final = 0.25
_FULL: Final = Detail.FULL  # looking a member up in its enumeration costs as much as handing a record over
_log: Final = logging.getLogger(__name__)


class Recorder:
    """The agent's one mouth for telemetry; `prediction`, `event` and `summary` may come from any thread."""

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        settings: TelemetrySettings,
        *,
        queue_records: int = QUEUE_RECORDS,
        kept_budget: KeptBudget | None = None,
        last_errors: LastErrors | None = None,
    ) -> None:
        self.last_errors = last_errors or LastErrors()
        self._spool = spool
        self._clock = clock
        self._settings = settings
        self._writer = FrameWriter(spool, clock, interval_us=round(settings.frame_interval_s * 1e6))
        self._wish = Detail(settings.detail)
        self._detail = self._wish
        self._kept_budget = kept_budget
        self._budget = kept_budget.load() if kept_budget else DailyBudget()
        self._budget.limit_bytes = settings.daily_bytes
        self._hand = HandOver(queue_records)
        self._snapshot = (spool.ledger(), Counter[Lane]())
        self._wake = threading.Event()
        self._passed = threading.Condition()
        self._flushes_wanted = self._flushes_done = 0
        self._closing = False
        self._looks = 0
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)

    @property
    def beats(self) -> int:
        """Return a count that rises whenever the writer looks at what waits, or has handled a frame; one that stands still hangs."""
        return self._looks + self._writer.handled

    @property
    def alive(self) -> bool:
        """Tell whether its thread runs; a defect that ended it is in the log, and the agent should restart."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def prediction(self, origin: Origin, prediction: Prediction, *, scores: bool, unusual: bool = False) -> None:
        """Record a prediction, as far as the detail wants it; `unusual` says that it found an anomaly."""
        if self._detail is _FULL or wanted(
            prediction, detail=self._detail, scores=scores, unusual=unusual, sample_every=self._settings.sample_every
        ):
            waiting = self._hand.prediction(origin, prediction, scores=scores)
            if waiting >= MAX_RECORDS:
                self._rouse()

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Record an event; `detail` holds plain values."""
        row = self._give(Lane.EVENTS, code, detail, model, bundle)
        self.last_errors.saw(code, detail, model=model, wall_us=row.wall_us)

    def summary(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Record a summary; `detail` holds plain values."""
        self._give(Lane.SUMMARIES, code, detail, model, bundle)

    def capture(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Record a capture; `detail` holds plain values, of at most 1 MiB."""
        self._give(Lane.CAPTURES, code, detail, model, bundle)

    def apply(self, wish: twin.TelemetrySettings) -> None:
        """Take what the hub may tune; None means the device's own setting."""
        self._wish = wish.detail or Detail(self._settings.detail)
        self._budget.limit_bytes = self._settings.daily_bytes if wish.daily_bytes is None else wish.daily_bytes
        self._detail = self._budget.detail(self._wish)

    def ledger(self) -> dict[str, LaneReport]:
        """Return the ledger of each lane, as of the writer's last pass and without waiting for the disk."""
        with self._hand.lock:
            reports, settled = self._snapshot
            given = self._hand.given()
        on_hand = {lane: given[lane] - settled[lane] for lane in reports}
        return {
            str(lane): replace(report, open=on_hand[lane], produced=report.produced + on_hand[lane])
            for lane, report in reports.items()
        }

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Seal every open frame; tell whether that was done in time."""
        with self._passed:
            self._flushes_wanted += 1
            mine = self._flushes_wanted
            self._wake.set()
            return self._passed.wait_for(lambda: self._flushes_done >= mine, timeout_s)

    def configure(self, settings: TelemetrySettings) -> None:
        """Take changed settings; what the hub tuned is taken back until it is applied again."""
        self._settings = settings
        self._writer.interval_us = round(settings.frame_interval_s * 1e6)
        self.apply(twin.TelemetrySettings())

    def close(self, timeout_s: float | None = None) -> bool:
        """Seal every open frame and stop writing; the spool stays open. False if the disk holds the writer longer."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def settle(self) -> None:
        """Let the ledger tell what the hub has acknowledged since `close`, which no writer accounts any more."""
        with self._hand.lock:
            self._snapshot = (self._spool.ledger(), self._snapshot[1])

    def _give(self, lane: Lane, code: str, detail: Mapping[str, object], model: str, bundle: str) -> Row:
        row = sayable(Row(code, self._clock.monotonic_us(), self._clock.wall_us(), detail, model, bundle))
        if self._hand.row(lane, row) >= MAX_RECORDS:
            self._rouse()
        return row

    def _rouse(self) -> None:
        if not self._wake.is_set():
            self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(_PASS_S)
            self._wake.clear()
            last = self._closing
            wanted_flushes = self._flushes_wanted
            self.write(everything=last or wanted_flushes > self._flushes_done)
            with self._passed:
                self._flushes_done = wanted_flushes
                self._passed.notify_all()
            if last:
                return
            if self._hand.longest() >= MAX_RECORDS:
                self._rouse()

    def write(self, *, everything: bool = False) -> None:
        """Do one pass of the writer, or take `everything` that waits now: for its thread, and for tests that need none."""
        # Each look takes at most a frame of a list, so that many empty the longest one.
        times = 1 + self._hand.longest() // MAX_RECORDS if everything else 1
        for _ in range(times):
            self._take()
        self._writer.seal_due(everything=everything)
        self._account()

    def _take(self) -> None:
        self._looks += 1
        # Not more than a frame of each list: what a slow disk holds up is in memory besides all that waits.
        lots, overflow = self._hand.take(MAX_RECORDS)
        for whose, records in lots:
            self._writer.take(whose, records)
        for lane, lost in overflow.items():
            self._writer.give_up(lane, lost, "queue")

    def _account(self) -> None:
        writer = self._writer
        reports = self._spool.ledger()
        with self._hand.lock:
            self._hand.made(Lane.EVENTS, writer.gap_rows)
            writer.gap_rows = 0
            self._snapshot = (reports, Counter(writer.settled))
        self._spend(writer.bytes_framed)
        writer.bytes_framed = 0

    def _spend(self, size: int) -> None:
        self._budget.spend(size, Moment.of(self._clock))
        if self._kept_budget is not None:
            self._kept_budget.keep(self._budget, exact=self._closing)
        detail, before = self._budget.detail(self._wish), self._detail
        if detail is not before:
            order = list(Detail)
            why = "daily-bytes" if order.index(detail) > order.index(before) else "new-day"
            self.event("detail", {"from": before, "to": detail, "reason": why})
            self._detail = detail

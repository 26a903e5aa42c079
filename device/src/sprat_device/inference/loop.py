"""The loop of one input: reading -> check -> prediction -> recorder, and a summary now and then.

Rules: a bad input is an event with its reason, never a prediction; the source's running index goes on over a swap of
bundles without a gap; nothing here waits for disk, network or hub; many equal errors become a few events and a count.

A loop belongs to the thread that steps it. `swap` and `unload` may be called from another one: they leave word, and the
loop takes it up between two readings. What waits in the source is run at once where the artifact's batch is open.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

import numpy as np
import numpy.typing as npt

from sprat_device.board.clock import Clock
from sprat_device.board.logs import log_event
from sprat_device.board.settings.drift import DriftSettings
from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract import summary
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.answers import Answer
from sprat_device.inference.cache import PredictionCache
from sprat_device.inference.explaining import explain
from sprat_device.inference.loaded import Loaded
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading, Reply, Source
from sprat_device.inference.tally import Tally
from sprat_device.inference.telling import Outcome, Recorder, Watcher

_LOG: Final = logging.getLogger("sprat.agent")
MOST_AT_ONCE: Final = 32
_MOST_DETAIL: Final = 300
_EVENTS_PER_REASON: Final = 20
"""Per summary interval. A broken sensor must not push out of the spool what else happened; the summary has the count."""
_UNFIT: Final = frozenset({Reason.INPUT_MISSING, Reason.INPUT_SHAPE, Reason.INPUT_DTYPE})
"""These say that bundle and source do not fit each other; a value that is not finite or out of range is the sensor's."""


class Loop:
    """Runs one source through the session of the moment."""

    def __init__(
        self,
        source: Source,
        recorder: Recorder,
        clock: Clock,
        on_outcome: Outcome,
        *,
        watchers: Sequence[Watcher] = (),
        turn: AbstractContextManager[object] | None = None,
        summary_interval_s: float = 60.0,
        drift: DriftSettings | None = None,
        runtime: RuntimeSettings | None = None,
    ) -> None:
        """Wire a loop; `turn` guards a session that other loops run too."""
        self._source = source
        self._recorder = recorder
        self._clock = clock
        self._on_outcome = on_outcome
        self._watchers = tuple(watchers)
        self._turn = turn or threading.Lock()
        self._interval_us = int(summary_interval_s * 1e6)
        self._drift = drift or DriftSettings()
        self.runtime = runtime or RuntimeSettings()
        """What the next bundle is taken up by: whether its answers are cached."""
        self._loaded: Loaded | None = None
        self._word = threading.Event()
        self._next: Loaded | None = None
        self._next_summary_us = clock.monotonic_us() + self._interval_us
        self.healthy = 0
        self.errors = 0

    @property
    def running(self) -> str:
        """Return the digest of the bundle that answers, empty if none does."""
        loaded = self._loaded
        return "" if loaded is None else loaded.origin.bundle

    def swap(self, session: Session, origin: Origin, source: Source | None = None) -> None:
        """Let another bundle answer from the next reading on; BundleRefused for a baseline that does not fit it.

        `source` gives readings as this bundle takes them, where that is not what the one before took.
        """
        tally = Tally(session, since_us=self._clock.monotonic_us(), drift=self._drift)
        self._leave_word(Loaded(session, origin, tally, source, PredictionCache.wanted(session, self.runtime)))

    def unload(self) -> None:
        """Let no bundle answer; the source stays open, and its index goes on when one answers again."""
        self._leave_word(None)

    def step(self, timeout_s: float) -> bool:
        """Handle what comes next from the source; False if there was nothing within the time."""
        if self._word.is_set():
            self._take_word()
        loaded = self._loaded
        if loaded is None:
            self._word.wait(timeout_s)
            return False
        reading = self._next_reading(loaded.session, timeout_s)
        now_us = self._clock.monotonic_us()
        if reading is not None:
            self._handle(reading, loaded, now_us)
        if now_us >= self._next_summary_us:
            self._summarise(now_us)
        return reading is not None

    def summarise_every(self, interval_s: float) -> None:
        """Tell the next counts, and all after them, so far apart."""
        self._interval_us = int(interval_s * 1e6)
        self._next_summary_us = self._clock.monotonic_us() + self._interval_us

    def close(self) -> None:
        """Tell the last counts and close the source; the thread that stepped has ended."""
        self._summarise(self._clock.monotonic_us())
        self._source.close()

    # Swapping

    def _leave_word(self, following: Loaded | None) -> None:
        self._next = following
        self._word.set()

    def _take_word(self) -> None:
        self._word.clear()
        self._summarise(self._clock.monotonic_us())
        self._loaded = self._next
        if self._loaded is not None and self._loaded.source is not None:
            self._source = self._loaded.source
        self.healthy = self.errors = 0

    # Answering

    def _next_reading(self, session: Session, timeout_s: float) -> Reading | None:
        reading = self._source.read(timeout_s)
        return reading if reading is None or session.prepare is None else session.prepare(reading)

    def _handle(self, reading: Reading, loaded: Loaded, now_us: int) -> None:
        if reading.fault is not None:
            self._failed(reading, loaded, reading.fault.reason, reading.fault.detail)
            return
        if not loaded.session.batches:
            self._run_one(reading, loaded, now_us)
            return
        waiting = [reading]
        while len(waiting) < MOST_AT_ONCE and (another := self._next_reading(loaded.session, 0)) is not None:
            waiting.append(another)
        if len(waiting) == 1:
            self._run_one(reading, loaded, now_us)
        else:
            self._run_many(waiting, loaded)

    def _run_one(self, reading: Reading, loaded: Loaded, begun_us: int) -> None:
        session = loaded.session
        reason = session.check_input(reading.inputs)
        if reason is not None:
            self._failed(reading, loaded, reason)
            return
        key, known = loaded.known(reading)
        if known is not None:
            self._answered(reading, loaded, known, self._clock.monotonic_us() - begun_us, cached=True)
            return
        try:
            with self._turn:
                if reading.begins:
                    session.reset()
                answer = loaded.kept(key, session.predict(reading.inputs))
        except RunFailed as exc:
            self._failed(reading, loaded, Reason.RUN_FAILED, str(exc))
            return
        self._answered(reading, loaded, answer, self._clock.monotonic_us() - begun_us)

    def _run_many(self, waiting: Sequence[Reading], loaded: Loaded) -> None:
        """Run what waits at once; the latency told of each is that of the run."""
        session = loaded.session
        good: list[tuple[Reading, bytes, Answer | None]] = []
        for reading in waiting:
            fault = reading.fault
            reason = session.check_input(reading.inputs) if fault is None else fault.reason
            if reason is None:
                good.append((reading, *loaded.known(reading)))
            else:
                self._failed(reading, loaded, reason, "" if fault is None else fault.detail)
        new = [reading.inputs for reading, _, known in good if known is None]
        begun_us = self._clock.monotonic_us()
        try:
            with self._turn:
                answers = iter(session.predict_many(new) if new else [])
        except RunFailed:
            # One by one, so that only what fails by itself is told as failed.
            for reading, _, _ in good:
                self._run_one(reading, loaded, self._clock.monotonic_us())
            return
        latency_us = self._clock.monotonic_us() - begun_us
        for reading, key, known in good:
            answer = loaded.kept(key, next(answers)) if known is None else known
            self._answered(reading, loaded, answer, latency_us, cached=known is not None)

    def _answered(
        self, reading: Reading, loaded: Loaded, answer: Answer, latency_us: int, *, cached: bool = False
    ) -> None:
        if not _finite(answer.outputs):
            self._failed(reading, loaded, Reason.NON_FINITE)
            return
        session, origin = loaded.session, loaded.origin
        prediction = Prediction(
            reading.index, reading.mono_us, reading.wall_us, answer.label, answer.outputs, latency_us
        )
        unusual = session.anomaly and answer.label == 1
        self._recorder.prediction(origin, prediction, scores=session.scores, unusual=unusual)
        self.healthy += 1
        loaded.tally.predicted(reading.inputs, answer, latency_us, reading.mono_us)
        if cached:
            loaded.tally.hit()
        else:
            # What was known before says nothing new of the bundle, so it does not end its trial.
            self._on_outcome(origin.bundle, True, latency_us)
        if reading.reply is not None:
            labels = session.manifest.labels
            reading.reply(Reply(origin.bundle, origin.release_seq, labels, answer, latency_us, cached=cached))
        for watcher in self._watchers:
            watcher.answered(session, origin, reading, prediction)

    def _failed(self, reading: Reading, loaded: Loaded, reason: Reason, detail: str = "") -> None:
        self.errors += 1
        origin = loaded.origin
        if loaded.tally.failed(reason) <= _EVENTS_PER_REASON:
            said = detail or _unfit(reason, reading, loaded)
            told: dict[str, object] = {"index": reading.index, **({"detail": said} if said else {})}
            self._recorder.event(reason, told, model=origin.model, bundle=origin.bundle)
            if reading.reply is None:  # who asks has the reason as an answer
                who = f"{origin.model}/{origin.input}" if origin.input else origin.model
                line = f"reading {reading.index}" + (f", {said}" if said else "")
                log_event(_LOG, logging.WARNING, f"input {who}: {reason}", line)
        # Who asks on demand may ask anything: that is nothing against the bundle.
        if (reason in _UNFIT and reading.reply is None) or reason in {Reason.RUN_FAILED, Reason.NON_FINITE}:
            self._on_outcome(origin.bundle, False, 0)
        if reading.reply is not None:
            reading.reply(Reply(origin.bundle, origin.release_seq, reason=reason, detail=detail))

    def _summarise(self, now_us: int) -> None:
        self._next_summary_us = now_us + self._interval_us
        if self._loaded is None:
            return
        origin, told = self._loaded.origin, self._loaded.tally.take(now_us)
        if told is not None:
            self._recorder.summary(summary.CODE, told.detail(), model=origin.model, bundle=origin.bundle)
            if (shift := self._loaded.tally.shift.add(told)) is not None:
                self._recorder.event(shift.code, shift.detail, model=origin.model, bundle=origin.bundle)


def _unfit(reason: Reason, reading: Reading, loaded: Loaded) -> str:
    """Return what came and what was expected, where it was the reading that did not fit."""
    if not reason.startswith("input-"):
        return ""
    return "; ".join(explain(spec, reading.inputs, ()) for spec in loaded.session.manifest.inputs)[:_MOST_DETAIL]


def _finite(outputs: npt.NDArray[np.float32]) -> bool:
    # The square sum is finite where every entry is, unless they are huge: then each is looked at.
    return math.isfinite(outputs.dot(outputs)) or bool(np.isfinite(outputs).all())

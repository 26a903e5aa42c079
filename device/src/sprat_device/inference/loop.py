"""The loop of one source: reading -> check -> prediction -> recorder, and a summary now and then.

Rules: a bad input is an event with its reason, never a prediction; the source's running index goes on over a swap of
bundles without a gap; nothing here waits for disk, network or hub; many equal errors become a few events and a count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sprat_device.board.clock import Clock
from sprat_device.contract import summary
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.runtimes.raw import RunFailed
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading, Source
from sprat_device.inference.tally import Tally

_EVENTS_PER_REASON: Final = 20
"""Per summary interval. A broken sensor must not push out of the spool what else happened; the summary has the count."""
_UNFIT: Final = frozenset({Reason.INPUT_MISSING, Reason.INPUT_SHAPE, Reason.INPUT_DTYPE})
"""These say that bundle and source do not fit each other; a value that is not finite or out of range is the sensor's."""


class Recorder(Protocol):
    """Where records go; none of its methods waits."""

    def prediction(self, origin: Origin, prediction: Prediction, *, scores: bool) -> None:
        """Take one prediction."""
        ...

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Take one event."""
        ...

    def summary(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Take one summary."""
        ...


Outcome = Callable[[bool, int], None]
"""Told whether the bundle answered, and in how many microseconds."""


class Loop:
    """Runs one source through the session of the moment."""

    def __init__(
        self, source: Source, recorder: Recorder, clock: Clock, on_outcome: Outcome, *, summary_interval_s: float = 60.0
    ) -> None:
        self._source = source
        self._recorder = recorder
        self._clock = clock
        self._on_outcome = on_outcome
        self._interval_us = int(summary_interval_s * 1e6)
        self._loaded: tuple[Session, Origin, Tally] | None = None
        self._next_summary_us = clock.monotonic_us() + self._interval_us
        self.healthy = 0
        self.errors = 0

    @property
    def running(self) -> str:
        """Return the digest of the bundle that answers, empty if none does."""
        return "" if self._loaded is None else self._loaded[1].bundle

    def swap(self, session: Session, origin: Origin) -> None:
        """Let another bundle answer from the next reading on; the old one's counts are told first."""
        now_us = self._clock.monotonic_us()
        tally = Tally(session, since_us=now_us)
        self._summarise(now_us)
        self._loaded = (session, origin, tally)
        self.healthy = self.errors = 0

    def unload(self) -> None:
        """Let no bundle answer; the source stays open, and its index goes on when one answers again."""
        self._summarise(self._clock.monotonic_us())
        self._loaded = None

    def step(self, timeout_s: float) -> bool:
        """Handle the next reading; False if there was none within the time."""
        if self._loaded is None:
            return False
        reading = self._source.read(timeout_s)
        now_us = self._clock.monotonic_us()
        if reading is not None:
            session, origin, tally = self._loaded
            self._infer(reading, session, origin, tally, begun_us=now_us)
        if now_us >= self._next_summary_us:
            self._summarise(now_us)
        return reading is not None

    def close(self) -> None:
        """Tell the last counts and close the source."""
        self._summarise(self._clock.monotonic_us())
        self._source.close()

    def _infer(self, reading: Reading, session: Session, origin: Origin, tally: Tally, *, begun_us: int) -> None:
        reason = session.check_input(reading.inputs)
        if reason is not None:
            self._failed(reading, origin, tally, reason)
            return
        try:
            answer = session.predict(reading.inputs)
        except RunFailed as exc:
            self._failed(reading, origin, tally, Reason.RUN_FAILED, str(exc))
            return
        latency_us = self._clock.monotonic_us() - begun_us
        if not _finite(answer.outputs):
            self._failed(reading, origin, tally, Reason.NON_FINITE)
            return
        self._recorder.prediction(
            origin,
            Prediction(reading.index, reading.mono_us, reading.wall_us, answer.label, answer.outputs, latency_us),
            scores=session.scores,
        )
        self.healthy += 1
        tally.predicted(reading.inputs, answer, latency_us)
        self._on_outcome(True, latency_us)

    def _failed(self, reading: Reading, origin: Origin, tally: Tally, reason: Reason, detail: str = "") -> None:
        self.errors += 1
        if tally.failed(reason) <= _EVENTS_PER_REASON:
            told: dict[str, object] = {"index": reading.index, **({"detail": detail} if detail else {})}
            self._recorder.event(reason, told, model=origin.model, bundle=origin.bundle)
        if reason in _UNFIT or reason in {Reason.RUN_FAILED, Reason.NON_FINITE}:
            self._on_outcome(False, 0)

    def _summarise(self, now_us: int) -> None:
        self._next_summary_us = now_us + self._interval_us
        if self._loaded is None:
            return
        _session, origin, tally = self._loaded
        told = tally.take(now_us)
        if told is not None:
            self._recorder.summary(summary.CODE, told.detail(), model=origin.model, bundle=origin.bundle)


def _finite(outputs: npt.NDArray[np.float32]) -> bool:
    # The square sum is finite where every entry is, unless they are huge: then each is looked at.
    return math.isfinite(outputs.dot(outputs)) or bool(np.isfinite(outputs).all())

"""Takes the readings that a rule wants, redacts and encodes them, and gives them to the recorder while the budget lasts.

All of that runs in a thread of its own behind a short queue; what does not fit into it is dropped and counted, and so is
every capture whose redaction fails. What was dropped is told as one event a minute.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import msgpack
import numpy.typing as npt

from sprat_device.board.clock import Clock
from sprat_device.board.days import Moment
from sprat_device.board.files import Files
from sprat_device.board.settings.capture import CaptureSettings
from sprat_device.contract.capture import CODE, MAX_BYTES, Capture, Rule, Wish
from sprat_device.contract.errors import MachineLacks
from sprat_device.contract.records import NO_LABEL, Origin, Prediction
from sprat_device.inference.capturing.budget import Budget
from sprat_device.inference.capturing.redact import Redaction, RedactionFailed, installed
from sprat_device.inference.sources.reading import Reading

_QUEUED: Final = 8
_TELL_US: Final = 60_000_000
_WAIT_S: Final = 1.0
_END_S: Final = 1.0
"""The agent's own end must not wait for a foreign hook."""
_log: Final = logging.getLogger(__name__)


class Recorder(Protocol):
    """Where captures and events go; none of its methods waits."""

    def capture(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Take one capture."""
        ...

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Take one event."""
        ...


@dataclass(frozen=True, slots=True)
class Offered:
    """A reading that a rule wants, with its answer; the arrays are the source's, and nobody writes into them."""

    rule: Rule
    origin: Origin
    reading: Reading
    prediction: Prediction
    why: str = ""
    shadow: str = ""
    shadow_label: int = NO_LABEL


class Capturer:
    """The one place of a device that lets inputs out."""

    def __init__(self, settings: CaptureSettings, recorder: Recorder, clock: Clock, files: Files, state: Path) -> None:
        self._own = settings
        self.settings = settings
        self.allowed: frozenset[Rule] = frozenset()
        """The rules that may keep something now; read by the loops' threads, replaced as a whole."""
        self.asked: frozenset[str] = frozenset()
        """The models of which the next reading is asked for."""
        self._recorder = recorder
        self._clock = clock
        self._budget = Budget(files, state / "capture-budget.json", limits(settings))
        self._redaction: Redaction | None = None
        self._queue: queue.Queue[Offered | None] = queue.Queue(_QUEUED)
        self._counting = threading.Lock()  # held for a count alone
        self._dropped: Counter[str] = Counter()
        self._next_word_us = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to capture, if the settings say so and every required hook is there; what is lacking is an event."""
        if not self._own.enabled:
            return
        try:
            self._redaction = installed(self._own.redact)
        except MachineLacks as exc:
            _log.error("%s", exc)
            self._recorder.event("capture-off", {"detail": str(exc)[:500]})
            return
        self._stopping = threading.Event()
        self._look()
        self._thread = threading.Thread(
            target=self._run, args=(self._queue, self._stopping), name="captures", daemon=True
        )
        self._thread.start()

    def configure(self, settings: CaptureSettings) -> None:
        """Follow changed settings; what a day's budget has spent stays spent."""
        if settings == self._own:
            return
        self.stop()
        self._own = self.settings = settings
        self._budget.limits = limits(settings)
        self.start()

    def stop(self) -> None:
        """Capture no more; what waits is dropped."""
        self.allowed = frozenset()
        self._stopping.set()
        if self._thread is not None:
            with suppress(queue.Full):  # then it is awake
                self._queue.put_nowait(None)
            self._thread.join(_END_S)
            if self._thread.is_alive():
                _log.warning("captures: a redaction hook does not come back, its thread is left behind")
        self._queue = queue.Queue(_QUEUED)

    def apply(self, wish: Wish) -> bool:
        """Take what the hub asks for, if the device allows that; tell whether it does."""
        if not (self._own.enabled and self._own.hub_may_tune):
            return wish == Wish()
        own = self._own
        self.settings = replace(
            own,
            labels=own.labels if wish.labels is None else wish.labels,
            uncertain_below=own.uncertain_below if wish.uncertain_below is None else wish.uncertain_below,
            random_rate=own.random_rate if wish.random_rate is None else wish.random_rate,
            # The device's own budget is the most that a hub can have.
            daily_bytes=own.daily_bytes if wish.daily_bytes is None else min(own.daily_bytes, wish.daily_bytes),
        )
        self._budget.limits = limits(self.settings)
        return True

    def ask(self, model: str) -> bool:
        """Have the next reading of a model kept, out of the budget for references; False where none may be kept now."""
        if Rule.RANDOM not in self.allowed:
            return False
        self.asked |= {model}
        return True

    def claim(self, model: str) -> bool:
        """Tell a loop whether its reading is the one that was asked for."""
        asked, self.asked = self.asked, self.asked - {model}
        return model in asked

    def offer(self, offered: Offered) -> None:
        """Take a reference to a reading; from any thread, and never waiting."""
        if offered.rule not in self.allowed:
            return
        try:
            self._queue.put_nowait(offered)
        except queue.Full:
            self._drop("queue")

    def _run(self, waiting: queue.Queue[Offered | None], stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                offered = waiting.get(timeout=_WAIT_S)
            except queue.Empty:
                offered = None
            # A defect here ends captures, not the agent: nothing else rests on this thread.
            try:
                if offered is not None:
                    self._keep(offered, stopping)
                if not stopping.is_set():
                    self._look()
            except Exception:  # noqa: BLE001
                _log.exception("capture: a defect; nothing more is captured")
                self.allowed = frozenset()
                self._recorder.event("capture-off", {"detail": "a defect, which the device's log tells"})
                return

    def _look(self) -> None:
        """See which rules have something left, and tell what was dropped."""
        self.allowed = self._budget.open(Moment.of(self._clock))
        now_us = self._clock.monotonic_us()
        if self._dropped and now_us >= self._next_word_us:
            self._next_word_us = now_us + _TELL_US
            with self._counting:
                dropped, self._dropped = self._dropped, Counter()
            self._recorder.event("capture-dropped", {"reasons": dict(dropped)})

    def _keep(self, offered: Offered, stopping: threading.Event) -> None:
        if self._redaction is None:
            raise AssertionError("capture: started without its hooks")
        origin = offered.origin
        try:
            # What came, not what the model saw: a data set made of captures goes through the recipe's steps again.
            inputs = self._redaction.apply(origin.model, offered.reading.came)
            detail = self._described(offered, inputs).detail()
            size = len(msgpack.packb(detail))
            if stopping.is_set():
                return  # switched off while a hook was at work
            if size > MAX_BYTES:
                self._drop("too-big")
            elif self._budget.spend(offered.rule, size, now=Moment.of(self._clock)):
                self._recorder.capture(CODE, detail, model=origin.model, bundle=origin.bundle)
        except RedactionFailed as exc:
            self._drop("redaction", exc)
        except OSError as exc:
            self._drop("disk", exc)

    def _drop(self, reason: str, why: object = "") -> None:
        with self._counting:
            self._dropped[reason] += 1
            first = self._dropped[reason] == 1
        if first and why:
            _log.warning("capture: dropped, %s: %s", reason, why)

    def _described(self, offered: Offered, inputs: Mapping[str, npt.NDArray[Any]]) -> Capture:
        prediction, redaction = offered.prediction, self._redaction
        return Capture(
            rule=offered.rule,
            index=prediction.index,
            release_seq=offered.origin.release_seq,
            label=prediction.label,
            outputs=tuple(float(value) for value in prediction.outputs),
            inputs=inputs,
            input=offered.origin.input,
            why=offered.why,
            shadow=offered.shadow,
            shadow_label=offered.shadow_label,
            redacted=tuple(redaction.hooks) if redaction else (),
        )


def limits(settings: CaptureSettings) -> dict[Rule, int]:
    """Return each rule's bytes of a day; shares that add up to more than the whole are scaled down to it."""
    shares = {
        Rule.RANDOM: settings.share_random,
        Rule.LABEL: settings.share_label if settings.labels else 0.0,
        Rule.UNUSUAL: settings.share_unusual,
        Rule.UNCERTAIN: settings.share_uncertain,
        Rule.SHADOW: settings.share_shadow,
    }
    whole = max(1.0, sum(shares.values()))
    return {rule: int(settings.daily_bytes * share / whole) for rule, share in shares.items() if share > 0}

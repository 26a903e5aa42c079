"""One shadow: its thread begins the process, gives it readings as its budget allows, compares, and tells.

The duty cycle follows from the processor time: what a reading cost (in the process and in this thread) is divided by
the share that it may take, and only after so long is the next one wanted. A process that dies is begun again, later
each time, and given up after a few times. The thread may wait as long as it likes; nothing waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sprat_device.board.clock import Clock
from sprat_device.board.settings import RuntimeSettings
from sprat_device.board.settings.shadow import ShadowSettings
from sprat_device.contract.capture import Rule
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.manifest import State
from sprat_device.contract.phases import Reason
from sprat_device.contract.shadow import CODE
from sprat_device.contract.twin import Installed
from sprat_device.inference.capturing import Offered
from sprat_device.inference.shadowing.compare import Comparer
from sprat_device.inference.shadowing.figures import Figures
from sprat_device.inference.shadowing.gate import Gate, Seen
from sprat_device.inference.shadowing.process import Died, ShadowProcess, Stopped
from sprat_device.inference.shadowing.room import lacking

DELAYS_S: Final = (2.0, 15.0, 120.0, 900.0)
_TICK_S: Final = 0.25
_ENDS_S: Final = 1.0
"""A process that was killed may still be held by the disk: who ends a shadow does not wait for that."""
_HELD_US: Final = 3_600_000_000
"""A process that lived so long is no failure to start: its deaths are counted anew."""
_log: Final = logging.getLogger(__name__)


class Recorder(Protocol):
    """Where summaries and events go; none of its methods waits."""

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Take one event."""
        ...

    def summary(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Take one summary."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How a shadow does, as the twin tells it."""

    state: str = "starting"
    """`starting`, `waiting` (for memory), `running`, `restarting` or `given-up`."""
    detail: str = ""
    compared: int = 0
    agreed: int = 0
    starts: int = 0
    damaged: bool = False
    """Its file is not the one that was verified."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What every shadow of a device shares."""

    settings: ShadowSettings
    clock: Clock
    recorder: Recorder
    cache: Path
    runtime: RuntimeSettings
    interval_s: float
    on_disagreement: Callable[[Offered], None]


class Shadow:
    """A bundle that sees what the active one sees and never answers."""

    def __init__(
        self,
        model: ModelName,
        installed: Installed,
        bundle: Path,
        ports: Ports,
        *,
        delays_s: Sequence[float] = DELAYS_S,
    ) -> None:
        self.gate = Gate()
        self.installed = installed
        self.pid = 0
        """Of its process, 0 while there is none."""
        self._model = model
        self._bundle = bundle
        self._ports = ports
        self._delays_s = delays_s
        self._stopping = threading.Event()
        self._state, self._detail = "starting", ""
        self._damaged = False
        self._deaths = self._starts = self._compared = self._agreed = 0
        self._figures: dict[Digest, Figures] = {}
        self._comparers: dict[Digest, Comparer] = {}
        self._starts_told = 0
        self._since_us = ports.clock.monotonic_us()
        self._spent_us = 0
        self._free_us = 0
        self._unsure = 0
        self._thread = threading.Thread(target=self._run, name=f"shadow/{model}", daemon=True)
        self._thread.start()

    @property
    def standing(self) -> Standing:
        """Return how it does."""
        return Standing(self._state, self._detail, self._compared, self._agreed, self._starts, self._damaged)

    def stop(self) -> None:
        """End its process and tell the last figures; what the kernel holds longer than a second is left behind."""
        self._stopping.set()
        self._thread.join(_ENDS_S)
        if self._thread.is_alive():
            _log.warning("%s: the shadow's process does not end, it is left behind", self._model)

    def _run(self) -> None:
        try:
            while self._state != "given-up" and not self._stopping.is_set():
                try:
                    self._live()
                except Died as exc:
                    self._bury(exc)
        except Stopped:
            pass
        # A defect here ends the shadow, not the agent: nothing else rests on this thread.
        except Exception as exc:  # noqa: BLE001
            _log.exception("%s: the shadow is given up", self._model)
            self._give_up("defect", f"{type(exc).__name__}, which the device's log tells")
        finally:
            self.gate.shut()
            self._tell()

    def _live(self) -> None:
        self._await_room()
        begun_us, ports = self._ports.clock.monotonic_us(), self._ports
        self._starts += 1
        self._comparers.clear()
        process = ShadowProcess(
            self._bundle, ports.cache, ports.settings, digest=self.installed.bundle, runtime=ports.runtime,
            stopping=self._stopping.is_set,
        )  # fmt: skip
        self.pid = process.pid
        try:
            self._spent_us = _thread_cpu_us()
            process.load()
            self._pay(process, begun_us)
            self.gate.kept = process.kept
            self._state, self._detail = "running", process.runtime
            ports.recorder.event(
                "shadow-running", {"shadow": self.installed.bundle, "runtime": process.runtime}, model=self._model
            )
            while True:
                process.look()
                if ports.clock.monotonic_us() - begun_us > _HELD_US:
                    self._deaths = 0
                self._tell_when_due()
                if (seen := self._next()) is not None:
                    self._answer(process, seen)
        finally:
            self.pid = 0
            self.gate.shut()
            process.end()

    def _await_room(self) -> None:
        """Wait until the memory that the shadow may take is there: it must not be taken from anyone else."""
        while why := lacking(self._ports.settings.memory_bytes):
            if self._state != "waiting":
                self._state, self._detail = "waiting", why
                self._ports.recorder.event("shadow-waits", {"detail": self._detail}, model=self._model)
            if self._stopping.wait(self._delays_s[0]):
                raise Stopped

    def _next(self) -> Seen | None:
        now_us = self._ports.clock.monotonic_us()
        if now_us < self._free_us:
            time.sleep(min(_TICK_S, (self._free_us - now_us) / 1e6))
            return None
        return self.gate.take(_TICK_S)

    def _answer(self, process: ShadowProcess, seen: Seen) -> None:
        begun_us = self._ports.clock.monotonic_us()
        reading, prediction = seen.reading, seen.prediction
        if seen.fresh or reading.begins:
            self._unsure = 0 if reading.begins or not self._is_stream(seen) else self._ports.settings.warm_up
        said = process.ask(reading.came, reset=seen.fresh or reading.begins)
        figures = self._of(seen.origin.bundle)
        if self._unsure:
            self._unsure -= 1
        elif said.reason:
            figures.failed(said.reason)
        else:
            comparer = self._comparer(process, seen)
            found = comparer.compare(prediction.label, prediction.outputs, said.label, said.outputs)
            figures.compare(found, latency_us=prediction.latency_us, shadow_latency_us=said.latency_us)
            self._compared += 1
            self._agreed += found.same is True
            if found.same is False:
                self._ports.on_disagreement(
                    Offered(Rule.SHADOW, seen.origin, reading, prediction, "", self.installed.bundle, said.label)
                )
        figures.took(self._pay(process, begun_us), process.rss_kib)

    def _is_stream(self, seen: Seen) -> bool:
        return self.gate.kept or seen.session.manifest.state is State.KEPT

    def _pay(self, process: ShadowProcess, begun_us: int) -> int:
        """Return the processor time since the last call, and want nothing until that was its share of the time."""
        spent_us = process.cpu_us + _thread_cpu_us()
        cost_us, self._spent_us = spent_us - self._spent_us, spent_us
        self._free_us = max(self._free_us, begun_us) + round(cost_us / self._ports.settings.cpu_share)
        return cost_us

    def _comparer(self, process: ShadowProcess, seen: Seen) -> Comparer:
        key = seen.origin.bundle  # not the session itself: another one may come to lie at its place in memory
        if key not in self._comparers:
            self._comparers.clear()  # of a bundle that answers no more
            session = seen.session
            self._comparers[key] = Comparer(
                session.manifest.labels, process.labels, scores=bool(session.manifest.labels)
            )
        return self._comparers[key]

    # Telling

    def _of(self, active: Digest) -> Figures:
        if active not in self._figures:
            self._figures[active] = Figures(self.installed, since_us=self._since_us)
        return self._figures[active]

    def _tell_when_due(self) -> None:
        if self._ports.clock.monotonic_us() >= self._since_us + self._ports.interval_s * 1e6:
            self._tell()

    def _tell(self) -> None:
        now_us = self._ports.clock.monotonic_us()
        for active, readings in self.gate.readings().items():
            self._of(active).seen(readings)
        for figures in list(self._figures.values())[:1]:
            figures.started(self._starts - self._starts_told)
            self._starts_told = self._starts
        for active, figures in self._figures.items():
            if (told := figures.summary(now_us)) is not None:
                self._ports.recorder.summary(CODE, told.detail(), model=self._model, bundle=active)
        self._figures, self._since_us = {}, now_us

    def _bury(self, exc: Died) -> None:
        """Tell of a death; wait for another start, or give up."""
        self._deaths += 1
        _log.warning("%s: shadow %s: %s", self._model, self.installed.bundle[:12], exc)
        self._ports.recorder.event(
            "shadow-ended", {"reason": exc.reason, "detail": exc.detail, "shadow": self.installed.bundle},
            model=self._model,
        )  # fmt: skip
        if not exc.again or self._deaths >= self._ports.settings.starts:
            self._give_up(exc.reason, exc.detail)
            return
        self._state, self._detail = "restarting", str(exc)
        if self._stopping.wait(self._delays_s[min(self._deaths, len(self._delays_s)) - 1]):
            raise Stopped

    def _give_up(self, reason: str, detail: str) -> None:
        self._damaged = reason == Reason.HASH_MISMATCH
        self._state, self._detail = "given-up", f"{reason}: {detail}"
        self._ports.recorder.event(
            "shadow-given-up", {"reason": reason, "detail": detail, "shadow": self.installed.bundle}, model=self._model
        )


def _thread_cpu_us() -> int:
    return time.thread_time_ns() // 1000

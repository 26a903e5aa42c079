"""The one updater of a device: for which model it runs, how it ended, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.contract.ids import ModelName
from sprat_device.install.children import Child, Launch

_FIRST_DELAY_S: Final = 10.0


@dataclass(slots=True)
class _Retry:
    failures: int = 0
    at_us: int = 0


class Updating:
    """Starts the updater, one at a time, and looks after it; nothing here waits."""

    def __init__(self, clock: Clock, launch: Launch, *, longest_delay_s: float, jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._launch = launch
        self._longest_delay_s = longest_delay_s
        self._jitter = jitter
        self._running: tuple[ModelName | None, Child] | None = None
        self._retries: dict[ModelName, _Retry] = {}

    def configure(self, *, longest_delay_s: float) -> None:
        """Take another longest delay, from the next failure on."""
        self._longest_delay_s = longest_delay_s

    def start(self, models: Iterable[ModelName], *, look: bool = False) -> None:
        """Start it for the first of the models whose time has come, else for a look at the hub, unless it runs."""
        if self._running is not None:
            return
        now_us = self._clock.monotonic_us()
        for model in models:
            if self._retries.get(model, _Retry()).at_us <= now_us:
                self._running = (model, self._launch(model))
                return
        if look:
            self._running = (None, self._launch(None))

    def ended(self) -> tuple[ModelName | None, int] | None:
        """Return the model (None for a look) and the exit code once it has ended, and forget it."""
        if self._running is None:
            return None
        model, child = self._running
        code = child.poll()
        if code is None:
            return None
        self._running = None
        return model, code

    def stop(self, model: ModelName) -> None:
        """End it if it runs for this model; what it has done stays on the disk."""
        if self._running is not None and self._running[0] == model:
            self.end()

    def end(self) -> None:
        """End it, whatever it works on."""
        if self._running is not None:
            self._running[1].stop()
            self._running = None

    def at_once(self, model: ModelName) -> None:
        """Forget earlier failures of a model."""
        self._retries.pop(model, None)

    def later(self, model: ModelName) -> None:
        """Wait longer after each failure, with full jitter, so that a fleet does not come back as one."""
        retry = self._retries.setdefault(model, _Retry())
        ceiling_s = min(self._longest_delay_s, _FIRST_DELAY_S * 2**retry.failures)
        retry.failures = min(retry.failures + 1, 20)
        retry.at_us = self._clock.monotonic_us() + round(ceiling_s * self._jitter() * 1_000_000)

"""What steps a loop, and how the agent sees that it still does."""

from __future__ import annotations

import threading
from typing import Final, Protocol

from sprat_device.inference.loop import Loop

WAIT_S: Final = 0.25
"""A loop looks so often whether it shall end."""


class Worker(Protocol):
    """What steps a loop: a thread, or a test."""

    @property
    def alive(self) -> bool:
        """Tell whether it still steps."""
        ...

    @property
    def beats(self) -> int:
        """Return a count that rises with every step: one that stands still hangs."""
        ...

    def stop(self, timeout_s: float) -> bool:
        """Step no more; wait so long for the last step, and tell whether it has ended."""
        ...


class LoopThread:
    """Steps one loop until it is stopped; an exception ends it, and the agent sees that it is not alive."""

    def __init__(self, loop: Loop, name: str) -> None:
        self._loop = loop
        self._beats = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Tell whether it still steps."""
        return self._thread.is_alive()

    @property
    def beats(self) -> int:
        """Return a count that rises with every step."""
        return self._beats

    def stop(self, timeout_s: float) -> bool:
        """Step no more; wait so long for the last step, and tell whether it has ended."""
        self._stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._loop.step(WAIT_S)
            self._beats += 1

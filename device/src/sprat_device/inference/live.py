"""The newest prediction of each input for people and home automation: `up/live`, so many a second at most.

Nothing is kept for it: without a connection it is not said, and what comes faster than the pace is left out. What must
not be lost goes by frames.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Final

from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.pace import Pace
from sprat_device.inference.session import Session
from sprat_device.inference.sinks.told import tell
from sprat_device.inference.sources.reading import Reading

SCHEMA: Final = "sprat.live/1"
_MOST_OUTPUTS: Final = 64
"""A wider answer is told without its outputs."""

Publish = Callable[[str, bytes], None]
"""Takes the input that a document is of, and the document; it only enqueues."""


class Live:
    """A watcher of all loops; `per_s` 0 is off. From any thread."""

    def __init__(self, publish: Publish, per_s: float, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._publish = publish
        self._now_s = now_s
        self._turn = threading.Lock()
        self._per_s = per_s
        self._paces: dict[str, Pace] = {}

    def configure(self, per_s: float) -> None:
        """Take another pace."""
        with self._turn:
            if per_s != self._per_s:
                self._per_s, self._paces = per_s, {}

    def answered(self, session: Session, origin: Origin, _reading: Reading, prediction: Prediction) -> None:
        """Tell a prediction if its time has come."""
        if not self._per_s:
            return
        name = f"{origin.model}/{origin.input}" if origin.input else str(origin.model)
        with self._turn:
            pace = self._paces.get(name)
            if pace is None:
                # One at once: after a silence the newest is told, not a burst of old ones.
                pace = self._paces[name] = Pace(self._per_s, burst=1, now_s=self._now_s)
            if not pace.allows():
                return
        told = tell(session, origin, prediction, scores=prediction.outputs.size <= _MOST_OUTPUTS)
        document = {"schema": SCHEMA, **told.document}
        self._publish(name, json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())

"""The one place where the loops' threads meet a shadow: a reading is left there if one is wanted, and nobody waits.

Of single readings one at a time is taken, when the shadow asks for it. A stream's readings depend on each other, so
once one is taken all that follow are, until more of them wait than the shadow keeps up with.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final

from sprat_device.contract.ids import Digest
from sprat_device.contract.manifest import State
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading

_WAITING: Final = 64
"""Readings of a stream that may wait; beyond that the shadow begins anew, later."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A reading and its answer by the active bundle; the arrays are the source's, and nobody writes into them."""

    session: Session
    origin: Origin
    reading: Reading
    prediction: Prediction
    fresh: bool = False
    """The first after readings that were not taken: what came before it is not known to the shadow."""


class Gate:
    """Open while the shadow wants a reading."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Seen] = queue.SimpleQueue()
        self._counting = threading.Lock()  # held for a count alone
        self._readings: Counter[Digest] = Counter()
        self._open = False
        self._following = False
        self.kept = False
        """The shadow itself is a stream, whatever the active bundle is."""

    def see(self, session: Session, origin: Origin, reading: Reading, prediction: Prediction) -> None:
        """Count a reading that the active bundle has answered, and keep it if it is wanted."""
        with self._counting:
            self._readings[origin.bundle] += 1
        if self._following:
            if self._waiting.qsize() < _WAITING:
                self._waiting.put(Seen(session, origin, reading, prediction))
            else:
                self._following = False
        elif self._open:
            self._open = False
            self._following = self.kept or session.manifest.state is State.KEPT
            self._waiting.put(Seen(session, origin, reading, prediction, fresh=True))

    def take(self, timeout_s: float) -> Seen | None:
        """Ask for a reading and wait so long for it."""
        self._open = not self._following
        try:
            return self._waiting.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def shut(self) -> None:
        """Want nothing, and forget what waits."""
        self._open = self._following = False
        while not self._waiting.empty():
            self._waiting.get_nowait()

    def readings(self) -> Counter[Digest]:
        """Return how many readings each active bundle has answered since the last call."""
        with self._counting:
            found, self._readings = self._readings, Counter()
        return found

"""One input's watcher: in the loop's thread it asks the rules, and hands a reference on."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Final

from sprat_device.contract.capture import Rule
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.capturing.capturer import Capturer, Offered
from sprat_device.inference.capturing.rules import Rules
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading

ASKED: Final = "asked"
"""Why a reading was kept that somebody asked for: chosen by its moment, whatever it is."""
_log: Final = logging.getLogger(__name__)


class CaptureWatcher:
    """Sees every prediction of one input."""

    def __init__(self, capturer: Capturer, *, draw: Callable[[], float] = random.random) -> None:
        self._capturer = capturer
        self._draw = draw
        self._rules: tuple[Session, object, Rules] | None = None
        self._broken = False

    def answered(self, session: Session, origin: Origin, reading: Reading, prediction: Prediction) -> None:
        """Keep a reference to the reading if a rule wants it; it never waits and never raises."""
        allowed = self._capturer.allowed
        if not allowed or self._broken:
            return
        if origin.model in self._capturer.asked and self._capturer.claim(origin.model):
            self._capturer.offer(Offered(Rule.RANDOM, origin, reading, prediction, ASKED))
            return
        try:
            kept = self._rules_of(session).choose(reading, prediction, allowed)
            if kept is not None:
                self._capturer.offer(Offered(kept.rule, origin, reading, prediction, kept.why))
        # A defect here must not end the loop that answers; it is told once, and this input is captured no more.
        except Exception:  # noqa: BLE001
            _log.exception("capture: the rules failed; nothing more of this input is captured")
            self._broken = True

    def _rules_of(self, session: Session) -> Rules:
        settings, known = self._capturer.settings, self._rules
        if known is None or known[0] is not session or known[1] is not settings:
            known = self._rules = (session, settings, Rules.of(session, settings, self._draw))
        return known[2]

"""A session behind a server of its own: what `sprat-device serve` runs, and what benches and tests start."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from sprat_device.board.clock import SystemClock
from sprat_device.board.settings.inputs import InputSettings
from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.board.settings.serve import ServeSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.loop import Loop
from sprat_device.inference.serve import PREDICT
from sprat_device.inference.serve.serving import Serving
from sprat_device.inference.session import Session
from sprat_device.inference.telling import Recorder

_LOG: Final = logging.getLogger("sprat.serve")
_WAIT_S: Final = 0.25


class Unrecorded:
    """A recorder for a server without a hub: nobody would read the records."""

    def prediction(self, origin: Origin, prediction: Prediction, *, scores: bool, unusual: bool) -> None:
        """Keep nothing."""

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Keep nothing."""

    def summary(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        """Keep nothing."""


@contextmanager
def served(
    sessions: Sequence[tuple[Session, int]],
    settings: ServeSettings,
    *,
    runtime: RuntimeSettings | None = None,
    recorder: Recorder | None = None,
    on_defect: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Serve sessions with their release numbers and give the address; all threads have ended when the block has.

    WrongUse for two bundles of one model. `on_defect` is called where a thread ends by a defect, which the log tells.
    """
    twice = [model for model, count in Counter(str(s.manifest.model) for s, _ in sessions).items() if count > 1]
    if twice:
        raise WrongUse(f"model {twice[0]!r} has several bundles, expected one for each model")
    clock = SystemClock(None)
    inputs = [InputSettings(model=session.manifest.model, kind=PREDICT) for session, _ in sessions]
    serving = Serving(settings, inputs, clock)
    stopping = threading.Event()
    threads: list[threading.Thread] = []
    try:
        for (session, release_seq), entry in zip(sessions, inputs, strict=True):
            loop = Loop(serving.source(entry), recorder or Unrecorded(), clock, _unjudged, runtime=runtime)
            origin = Origin(session.manifest.model, release_seq, session.bundle_digest)
            loop.swap(session, origin)
            serving.show(entry, session, origin)
            threads.append(
                threading.Thread(target=_step, args=(loop, stopping, on_defect), name=entry.model, daemon=True)
            )
        serving.start()
        for thread in threads:
            thread.start()
        yield serving.address
    finally:
        stopping.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        serving.stop()


def _unjudged(bundle: str, ok: bool, latency_us: int) -> None:
    """Leave a bundle alone: no trial depends on it."""


def _step(loop: Loop, stopping: threading.Event, on_defect: Callable[[], None]) -> None:
    try:
        while not stopping.is_set():
            loop.step(_WAIT_S)
    except Exception:  # noqa: BLE001 - whatever it is, who started the thread must hear of it
        _LOG.exception("a thread ends by a defect")
        on_defect()

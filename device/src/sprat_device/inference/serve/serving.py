"""All desks of a device and the server in front of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.board.settings.inputs import InputSettings
from sprat_device.board.settings.serve import ServeSettings
from sprat_device.contract.errors import MachineLacks, WrongUse
from sprat_device.contract.records import Origin
from sprat_device.inference.serve import KINDS
from sprat_device.inference.serve.access import Access
from sprat_device.inference.serve.desk import Desk
from sprat_device.inference.serve.exchange import Shown
from sprat_device.inference.serve.room import Room
from sprat_device.inference.serve.routes import Key, Routes
from sprat_device.inference.serve.server import Server
from sprat_device.inference.session import Session

_LOG: Final = logging.getLogger("sprat.serve")
_AGAIN_S: Final = 5.0
_TELL_S: Final = 60.0


class Serving:
    """Desks are there from the beginning, so that a model without a bundle is known; the server once `start` was called."""

    def __init__(
        self,
        settings: ServeSettings,
        inputs: Iterable[InputSettings],
        clock: Clock,
        *,
        event: Callable[[str, Mapping[str, object]], None] = lambda _code, _detail: None,
    ) -> None:
        """Make a desk for each input that is served."""
        self._settings = settings
        self._clock = clock
        self._event = event
        self._desks: Mapping[Key, Desk] = {}
        self._routes: Routes | None = None
        self._server: Server | None = None
        self._room = Room(settings.max_waiting_bytes)
        self._try_s = 0.0
        self._failed = ""
        self._tell_s = 0.0
        self._told_rows = self._told_bodies = 0
        self._set_out(inputs)

    @property
    def address(self) -> str:
        """Return where it listens; empty while it does not."""
        return "" if self._server is None else self._server.address

    @property
    def alive(self) -> bool:
        """Tell whether its thread runs, if it should."""
        return self._server is None or self._server.alive

    def feed(self, inputs: Iterable[InputSettings]) -> None:
        """Follow changed inputs; the server goes on as long as one is served."""
        self._set_out(inputs)
        if not self._desks:
            self._end_server()

    def configure(self, settings: ServeSettings) -> None:
        """Follow changed settings, or the token's file; what needs another server ends the old one, `keep` makes the new one.

        WrongUse for a token that is no good, and all stays as it was.
        """
        access = Access(settings)
        if self._routes is not None:
            self._routes.access = access  # the token may be another one, whatever the settings say
        if settings != self._settings:
            self._end_server()
            self._settings = settings
            self._limit()
        self._try_s = 0.0

    def source(self, wanted: InputSettings) -> Desk:
        """Return the desk of an input, ready to be read."""
        desk = self._desks[_key(wanted)]
        desk.open()
        return desk

    def show(self, wanted: InputSettings, session: Session, origin: Origin) -> None:
        """Take requests for what answers for an input from now on; an input of another kind is left alone."""
        if (desk := self._desks.get(_key(wanted))) is not None:
            desk.show(Shown(session.manifest, origin.bundle, origin.release_seq, session.runtime, session.batches))

    def hide(self, model: str) -> None:
        """Take no requests for a model: no bundle answers."""
        for desk in self._desks.values():
            if desk.model == model:
                desk.show(None)

    def start(self) -> None:
        """Listen and answer; MachineLacks where the address cannot be had, WrongUse for a token that is no good."""
        if not self._desks or self._server is not None:
            return
        room = Room(self._settings.max_waiting_bytes)
        routes = Routes(Access(self._settings), room)
        routes.desks = self._desks
        server = Server(self._settings, routes, room)
        routes.done = server.finished
        server.start()
        self._server, self._routes, self._room = server, routes, room
        _LOG.info("answers on demand at %s", server.address)

    def keep(self) -> None:
        """Try again to listen where that failed, and tell how many rows had no room: called now and then."""
        now_s = time.monotonic()
        if self._desks and self._server is None and now_s >= self._try_s:
            self._try_s = now_s + _AGAIN_S
            self._try()
        if now_s >= self._tell_s:
            self._tell_refused(now_s)

    def _tell_refused(self, now_s: float) -> None:
        rows, bodies = sum(desk.refused for desk in self._desks.values()), self._room.refused
        told: dict[str, object] = {}
        if rows > self._told_rows:
            told |= {"rows": rows - self._told_rows, "queue": self._settings.queue}
        if bodies > self._told_bodies:
            told |= {"requests": bodies - self._told_bodies, "max_waiting_bytes": self._settings.max_waiting_bytes}
        if told:
            self._tell_s = now_s + _TELL_S
            self._event("requests-refused", told)
        self._told_rows, self._told_bodies = rows, bodies

    def stop(self) -> None:
        """Answer those who wait that nothing answers any more, and close."""
        for desk in self._desks.values():
            desk.close()
        self._end_server()

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = self._routes = None

    def _set_out(self, inputs: Iterable[InputSettings]) -> None:
        """Have one desk for each input that is served."""
        before = self._desks
        wanted = {_key(entry): entry.model for entry in inputs if entry.kind in KINDS}
        # A new mapping each time: the server's thread may be reading the old one.
        self._desks = {key: before.get(key) or Desk(model, self._clock) for key, model in wanted.items()}
        if self._routes is not None:
            self._routes.desks = self._desks
        self._limit()
        for key in before.keys() - wanted.keys():
            before[key].close()

    def _limit(self) -> None:
        for desk in self._desks.values():
            desk.most, desk.batch_wait_s = self._settings.queue, self._settings.batch_wait_ms / 1e3

    def _try(self) -> None:
        # An address that is taken, or a token that is not there, must not stop the other inputs of the device.
        try:
            self.start()
        except (MachineLacks, WrongUse) as exc:
            if str(exc) != self._failed:
                _LOG.warning("%s; tried again every %g s", exc, _AGAIN_S)
                self._event("not-listening", {"detail": str(exc)})
            self._failed = str(exc)
        else:
            self._failed = ""


def _key(wanted: InputSettings) -> Key:
    return wanted.kind, wanted.model, wanted.name

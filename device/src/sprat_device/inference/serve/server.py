"""The server's one thread: takes connections, feeds requests to the app, and sends what comes back; it never blocks.

The loops' threads only leave finished exchanges and wake it. Requests that are there at the same moment are all handed
over before the thread looks at the network again, so their loop finds them together.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from sprat_device.board.settings.serve import ServeSettings
from sprat_device.inference.serve import answers
from sprat_device.inference.serve.connection import Connection, Phase
from sprat_device.inference.serve.exchange import Exchange
from sprat_device.inference.serve.listening import Listener
from sprat_device.inference.serve.room import Room
from sprat_device.inference.serve.wire import Refusal, Request, Response

_LOG: Final = logging.getLogger("sprat.serve")
_SWEEP_S: Final = 0.05
"""Deadlines are looked at so often while somebody is connected."""
_MOST_REFUSED: Final = 16
"""Clients that are left the time to read why they were refused; a flood of them is not."""

App = Callable[[Request], Response | Exchange]


class Server:
    """Listens from its making on, and answers once it is started."""

    def __init__(self, settings: ServeSettings, app: App, room: Room) -> None:
        """Listen; MachineLacks where that is not possible."""
        self._settings = settings
        self._room = room
        self._app = app
        self._listener = Listener(settings)
        self._selector = selectors.DefaultSelector()
        self._connections: dict[socket.socket, Connection] = {}
        self._done: deque[Exchange] = deque()
        self._asked: dict[Exchange, Connection] = {}
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="serve", daemon=True)
        self._selector.register(self._listener.socket, selectors.EVENT_READ)
        self._selector.register(self._ear, selectors.EVENT_READ)

    @property
    def address(self) -> str:
        """Return where it listens."""
        return self._listener.address

    @property
    def alive(self) -> bool:
        """Tell whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and the listener."""
        self._stopping = True
        self._ring()
        if self._thread.ident is not None:
            self._thread.join()
        for connection in tuple(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        self._listener.close()
        self._bell.close()
        self._ear.close()

    def finished(self, exchange: Exchange) -> None:
        """Take an exchange of which all replies are there; from any thread."""
        self._done.append(exchange)
        self._ring()

    def _ring(self) -> None:
        try:
            self._bell.send(b"!")
        except BlockingIOError:
            return  # it rings already
        except OSError:
            # A row that was being run when the server ended is done now: nobody waits for it, and its loop goes on.
            if not self._stopping:
                raise

    def _run(self) -> None:
        swept_s = time.monotonic()
        while not self._stopping:
            # A request may be finished before its own turn has ended: the bell has rung then.
            ready = self._selector.select(_SWEEP_S if self._connections else None)
            for key, events in ready:
                self._serve(key.fileobj, events)
            while self._done:
                self._answer(self._done.popleft())
            now_s = time.monotonic()
            if now_s - swept_s >= _SWEEP_S:
                swept_s = now_s
                self._sweep(now_s)
        # Those who still waited were told so by their desk.
        while self._done:
            self._answer(self._done.popleft())

    def _serve(self, ready: object, events: int) -> None:
        if ready is self._listener.socket:
            self._accept()
        elif ready is self._ear:
            self._ear.recv(4096)
        elif (connection := self._connections.get(ready)) is not None:  # type: ignore[call-overload]
            going = connection.send(time.monotonic()) if events & selectors.EVENT_WRITE else connection.receive()
            self._go_on(connection) if going else self._drop(connection)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.socket.accept()
        except BlockingIOError:
            return  # it has gone again
        except OSError as exc:
            # Too many files are open: what waits would wake this thread over and over.
            _LOG.warning("a connection cannot be taken (%s)", exc.strerror)
            time.sleep(_SWEEP_S)
            return
        connection = Connection(client, self._settings, self._room, time.monotonic())
        full = self._is_full() and not self._make_room()
        self._connections[client] = connection
        self._selector.register(client, selectors.EVENT_READ)
        if full:
            self._refuse(connection)

    def _is_full(self) -> bool:
        """Tell whether there is no place; those who were refused and have yet to read why hold none, up to a bound."""
        most, all_ = self._settings.connections, self._connections.values()
        held = sum(each.phase is not Phase.LEAVING for each in all_)
        return held >= most or len(all_) >= most + _MOST_REFUSED

    def _refuse(self, connection: Connection) -> None:
        full = Refusal(503, "queue-full", "too many connections (serve.connections)", Retry_After="1")
        going = connection.refuse(answers.refusal(full), time.monotonic())
        if going and len(self._connections) <= self._settings.connections + _MOST_REFUSED:
            self._go_on(connection)
        else:
            self._drop(connection)

    def _make_room(self) -> bool:
        """Close the connection that has been idle for the longest; False if all are at something."""
        idle = [connection for connection in self._connections.values() if connection.phase is Phase.IDLE]
        if not idle:
            return False
        self._drop(min(idle, key=lambda connection: connection.until_s))
        return True

    def _go_on(self, connection: Connection) -> None:
        """Take up what a connection has; several requests may have come at once."""
        while connection.phase in {Phase.IDLE, Phase.READING}:
            try:
                request = connection.take(time.monotonic())
            except Refusal as exc:
                # What follows a request that could not be read is unreadable too.
                answer: Response | Exchange = answers.refusal(exc)
                keep = False
            else:
                if request is None:
                    break
                answer, keep = self._asked_of_app(request), True
            if isinstance(answer, Exchange):
                self._await(answer, connection)
            elif not connection.respond(answer, time.monotonic(), keep=keep):
                self._drop(connection)
                return
        writing = connection.phase is Phase.WRITING
        self._selector.modify(connection.socket, selectors.EVENT_WRITE if writing else selectors.EVENT_READ)

    def _asked_of_app(self, request: Request) -> Response | Exchange:
        try:
            return self._app(request)
        except Refusal as exc:
            return answers.refusal(exc)
        # One client must not end the service of all, whatever defect it has found.
        except Exception:  # noqa: BLE001
            _LOG.exception("no answer to %s %s", request.head.method, request.head.path[:100])
            return answers.refusal(Refusal(500, "defect", "a defect of the server, which its log tells"))

    def _await(self, exchange: Exchange, connection: Connection) -> None:
        exchange.until_s = time.monotonic() + self._settings.time_limit_s
        connection.exchange = exchange
        self._asked[exchange] = connection

    def _answer(self, exchange: Exchange) -> None:
        connection = self._asked.pop(exchange, None)
        if connection is not None:
            self._respond(connection, self._rendered(exchange))

    @staticmethod
    def _rendered(exchange: Exchange) -> Response:
        try:
            return exchange.response()
        # As in asking: between two rows of a request another bundle may have begun to answer, with outputs of its own.
        except Exception:  # noqa: BLE001
            _LOG.exception("no response can be made of the answers to a request")
            return answers.refusal(Refusal(500, "defect", "a defect of the server, which its log tells"))

    def _respond(self, connection: Connection, response: Response) -> None:
        connection.exchange = None
        if connection.respond(response, time.monotonic()):
            self._go_on(connection)
        else:
            self._drop(connection)

    def _sweep(self, now_s: float) -> None:
        late = [exchange for exchange in self._asked if now_s > exchange.until_s]
        for exchange in late:
            exchange.given_up = True
            connection = self._asked.pop(exchange)
            limit = self._settings.time_limit_s
            self._respond(connection, answers.refusal(
                Refusal(504, "too-slow", f"no answer within {limit:g} s (serve.time_limit_s)", Retry_After="1")
            ))  # fmt: skip
        for connection in [each for each in self._connections.values() if each.late(now_s)]:
            self._drop_late(connection)

    def _drop_late(self, connection: Connection) -> None:
        if connection.phase is Phase.READING:
            late = Refusal(408, "too-slow", f"no whole request within {self._settings.request_s:g} s (serve.request_s)")
            connection.respond(answers.refusal(late), time.monotonic(), keep=False)
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if connection.exchange is not None:
            connection.exchange.given_up = True
            self._asked.pop(connection.exchange, None)
        if self._connections.pop(connection.socket, None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()

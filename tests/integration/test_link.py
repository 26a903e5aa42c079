"""The lab's link: it relays both ways, resets what is open when cut, turns away, and comes back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from sprat.lab.link import Link

pytestmark = pytest.mark.integration


@pytest.fixture
def echo_port() -> Iterator[int]:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=_echo, args=(peer,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def _echo(peer: socket.socket) -> None:
    with peer:
        try:
            while data := peer.recv(1024):
                peer.sendall(data)
        except OSError:
            return


def _ask(port: int, what: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as near:
        near.sendall(what)
        near.shutdown(socket.SHUT_WR)
        heard = b""
        while data := near.recv(1024):
            heard += data
        return heard


def _lost(hear: Callable[[], bytes]) -> bool:
    try:
        return hear() == b""
    except OSError:
        return True


def test_it_relays_both_ways_and_ends_with_its_peers(echo_port: int) -> None:
    with Link("127.0.0.1", echo_port) as link:
        assert _ask(link.port, b"hello") == b"hello"


def test_a_cut_resets_what_is_open_and_turns_away_what_comes(echo_port: int) -> None:
    with Link("127.0.0.1", echo_port) as link, socket.create_connection(("127.0.0.1", link.port), timeout=5) as near:
        near.sendall(b"x")
        assert near.recv(1) == b"x"
        link.cut()
        assert _lost(lambda: near.recv(1))
        assert _lost(lambda: _ask(link.port, b"anyone?"))


def test_after_the_cut_it_relays_again(echo_port: int) -> None:
    with Link("127.0.0.1", echo_port) as link:
        link.cut()
        link.restore()
        assert _ask(link.port, b"back") == b"back"


def test_a_stall_keeps_what_is_open_and_silent(echo_port: int) -> None:
    with Link("127.0.0.1", echo_port) as link, socket.create_connection(("127.0.0.1", link.port), timeout=5) as near:
        near.sendall(b"x")
        assert near.recv(1) == b"x"
        link.stall()
        near.sendall(b"y")
        near.settimeout(0.3)
        with pytest.raises(TimeoutError):
            near.recv(1)
        link.restore()
        near.settimeout(5)
        assert near.recv(1) == b"y"


def test_a_connection_that_is_being_made_while_the_link_is_cut_is_lost_too(
    echo_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, begun, go_on = socket.create_connection, threading.Event(), threading.Event()

    def slowly(*given: object, **named: object) -> socket.socket:
        begun.set()
        assert go_on.wait(60)
        return connect(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", slowly)
    with Link("127.0.0.1", echo_port) as link, connect(("127.0.0.1", link.port), timeout=60) as near:
        assert begun.wait(60)
        link.cut()
        go_on.set()
        assert _lost(lambda: near.recv(1024))

"""What holds for every test."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest


class _Silent(socket.socket):
    """Closes itself without a word."""

    def __del__(self) -> None:
        self.close()


def _pair() -> tuple[socket.socket, socket.socket]:
    one, other = (_Silent(fileno=end.detach()) for end in socket.socketpair())
    for end in (one, other):
        end.setblocking(False)
    return one, other


@pytest.fixture(scope="session", autouse=True)
def paho_wakes_itself_silently() -> Iterator[None]:
    """Let no test fail for a client of another.

    paho leaves its pair of wake-up sockets to its finalizer. Where a client is part of a cycle, the collector may end the
    sockets first, and they would complain in whatever test runs at that moment.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paho, "_socketpair_compat", _pair)
        yield

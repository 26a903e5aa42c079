"""A link that can be lost: a TCP relay on loopback between one device and the hub, cut and restored at will.

While it is cut, open connections are reset and new ones are turned away, as they are behind a router without uplink.
While it is stalled they stay open and silent, as they are behind one that forgot them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Final, Self

_CHUNK: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends a reset instead of waiting for the peer."""


class Link:
    """Relays `127.0.0.1:port` to `host:target_port` until it is closed."""

    def __init__(self, host: str, target_port: int) -> None:
        self._target = (host, target_port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._up = threading.Event()
        self._up.set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="link", daemon=True).start()

    @property
    def port(self) -> int:
        """Return the port that the device connects to."""
        return int(self._server.getsockname()[1])

    def cut(self) -> None:
        """Lose the link: reset what is open, turn away what comes."""
        with self._lock:
            self._up.clear()
            for end in self._open:
                _reset(end)

    def stall(self) -> None:
        """Half-open: everything stays connected, and nothing passes any more, in either direction."""
        self._flowing.clear()

    def restore(self) -> None:
        """Bring the link back; what was open when it was cut stays lost, what was stalled flows on."""
        self._flowing.set()
        self._up.set()

    def close(self) -> None:
        """End the relay."""
        self.cut()
        self._flowing.set()
        # close() alone would not wake the thread that waits in accept().
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return  # the server socket was closed: the relay is over
            if not self._up.is_set():
                _reset(near)
                near.close()
                continue
            threading.Thread(target=self._relay, args=(near,), name="link-relay", daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            _reset(near)
            near.close()
            return
        far.settimeout(None)
        with near, far:
            with self._lock:
                self._open |= {near, far}
                if not self._up.is_set():  # it was cut while this connection was being made
                    _reset(near)
                    _reset(far)
            back = threading.Thread(target=_pump, args=(far, near, self._flowing), daemon=True)
            back.start()
            _pump(near, far, self._flowing)
            back.join()
            with self._lock:
                self._open -= {near, far}


def _pump(source: socket.socket, sink: socket.socket, flowing: threading.Event) -> None:
    """Copy one direction until either end goes away, then end the other direction's peer too."""
    # An error here is the loss of the link itself, which is what the relay exists to show.
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            flowing.wait()
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)

"""Joins standard input and output with a port of this host's loopback: qemu runs it once for each connection of a guest.

qemu's own way to a port (`guestfwd=…-tcp:…`) has one connection for all that the guest opens.
"""

import os
import socket
import sys
import threading

_MOST = 65536


def _up(host: socket.socket) -> None:
    while data := os.read(0, _MOST):
        host.sendall(data)
    host.shutdown(socket.SHUT_WR)


def main() -> None:
    """Relay both ways until the host has closed; without a host the guest sees an end, as of a refused connection."""
    try:
        host = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    except OSError:
        return
    threading.Thread(target=_up, args=(host,), daemon=True).start()
    try:
        while data := host.recv(_MOST):
            while data:
                data = data[os.write(1, data) :]
    except OSError:
        pass  # the guest is gone, or the hub was killed: an end is all that can be told
    os._exit(0)


main()

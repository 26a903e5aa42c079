"""The hub's two HTTP ports: uvicorn servers on sockets that are bound beforehand, and what the device port sees of TLS."""

from __future__ import annotations

import errno
import socket
import ssl
from asyncio import BaseTransport
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from sprat.errors import MachineLacks
from sprat.hub.folder import HubFolder

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_GRACE_S: Final = 3
_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The client certificate of a connection, verified by TLS against the fleet's CA."""

    name: str
    serial: str


class PeerProtocol(H11Protocol):
    """Puts the peer's certificate into the state of each request: `request.state.peer`."""

    def connection_made(self, transport: Any) -> None:
        """Look at the certificate once per connection."""
        super().connection_made(transport)
        peer = peer_of(transport)
        if peer is not None:
            self.app_state = {**self.app_state, "peer": peer}


class Server(uvicorn.Server):
    """A server that leaves signals to the hub, which ends its parts in order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def bind(host: str, port: int, flag: str) -> socket.socket:
    """Bind a listening socket, or say in one line why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as exc:
        found.close()
        raise _refused(host, port, flag, exc) from exc
    return found


def require_free(host: str, port: int, flag: str) -> int:
    """Return a port that another program may bind next; 0 asks for any."""
    with bind(host, port, flag) as probe:
        return int(probe.getsockname()[1])


def console_server(app: FastAPI, folder: HubFolder, host: str) -> Server:
    """Serve people: plain HTTP on loopback, TLS everywhere else."""
    tls: dict[str, Any] = {}
    if host not in LOOPBACK_HOSTS:
        pair = folder.pair("server")
        tls = {"ssl_certfile": str(pair.certificate), "ssl_keyfile": str(pair.key)}
    return Server(_config(app, ws="websockets-sansio", **tls))


def device_server(app: FastAPI, folder: HubFolder) -> Server:
    """Serve devices: TLS, a client certificate where there is one."""
    pair = folder.pair("server")
    config = _config(
        app,
        http=PeerProtocol,
        ws="none",
        ssl_certfile=str(pair.certificate),
        ssl_keyfile=str(pair.key),
        ssl_ca_certs=str(folder.authority.certificate),
        ssl_cert_reqs=ssl.CERT_OPTIONAL,
    )
    config.load()
    if config.ssl is None:
        raise AssertionError("the device port has no TLS")
    # A certificate that has ended must get through as far as its renewal: RequireDevice judges it, for each route.
    config.ssl.verify_flags |= _NO_CHECK_TIME
    return Server(config)


def peer_of(transport: BaseTransport) -> Peer | None:
    """Return the verified certificate of a TLS connection, None where the client showed none."""
    tls = transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert() if tls is not None else None
    if not certificate:
        return None
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    serial = cast("str", certificate.get("serialNumber", ""))
    # One common name and nothing else is what the CA writes; anything else is not one of ours.
    return Peer(names[0], f"{int(serial, 16):x}") if len(names) == 1 and serial else None


def _config(app: FastAPI, **more: Any) -> uvicorn.Config:
    settings = {
        "log_config": None, "access_log": False, "server_header": False, "lifespan": "off", "http": "h11",
        "timeout_graceful_shutdown": _GRACE_S,
    }  # fmt: skip
    return uvicorn.Config(app, **{**settings, **more})


def _refused(host: str, port: int, flag: str, exc: OSError) -> MachineLacks:
    match exc.errno:
        case errno.EADDRINUSE:
            return MachineLacks(f"port {port} of {host} is in use; give another with {flag}, 0 for any that is free")
        case errno.EACCES:
            return MachineLacks(f"port {port} of {host} needs root; give one above 1023 with {flag}")
        case _:
            return MachineLacks(f"cannot listen on {host} port {port}: {exc.strerror}; mend {flag} or the host")

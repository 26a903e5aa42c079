"""The socket that clients connect to: TCP, or a Unix socket with its own permissions."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Final

from sprat_device.board.settings.serve import UNIX, ServeSettings, address
from sprat_device.contract.errors import MachineLacks

_BACKLOG: Final = 128


class Listener:
    """A listening socket, and the address to tell people."""

    def __init__(self, settings: ServeSettings) -> None:
        """Listen; MachineLacks says what stands in the way."""
        self._path = Path(settings.listen.removeprefix(UNIX)) if settings.listen.startswith(UNIX) else None
        try:
            self.socket = _unix(self._path, settings) if self._path else _tcp(settings)
        except (OSError, LookupError, UnicodeError) as exc:  # the last: a name that no host can have
            why = (exc.strerror if isinstance(exc, OSError) else None) or exc
            raise MachineLacks(
                f"serve.listen {settings.listen!r}: cannot listen there ({why}); choose another"
            ) from exc
        self.socket.setblocking(False)

    @property
    def address(self) -> str:
        """Return where it listens: `http://HOST:PORT`, or `unix:/PATH`."""
        if self._path is not None:
            return f"{UNIX}{self._path}"
        host, port = self.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        """Listen no more."""
        if self._path is not None:
            with contextlib.suppress(OSError):  # somebody has removed it
                self._path.unlink()
        self.socket.close()


def _tcp(settings: ServeSettings) -> socket.socket:
    host, port = address(settings.listen)
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _unix(path: Path, settings: ServeSettings) -> socket.socket:
    _remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(path))
        if settings.unix_group:
            shutil.chown(path, group=settings.unix_group)
        # Nobody can connect before listen(), so there is no moment with other permissions.
        os.chmod(path, settings.unix_mode)  # noqa: PTH101 - beside chown
        made.listen(_BACKLOG)
    except (OSError, LookupError):
        made.close()
        raise
    return made


def _remove_stale(path: Path) -> None:
    """Remove the socket that an agent without a clean end has left; one that answers, or another file, stays."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "a file that is no socket stands there", str(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise FileExistsError(17, "another program listens there", str(path))

"""Who may ask: the token where one is set, and no web page that a browser on this machine happens to show.

A page of any site can send requests to an address of the machine that it is shown on. Its browser says so by `Origin`;
and where the page's own name was made to point here (DNS rebinding), the Host header is still that name.
"""

from __future__ import annotations

import hmac
import stat
from pathlib import Path
from typing import Final

from sprat_device.board.settings.serve import UNIX, ServeSettings, address, is_local
from sprat_device.contract.errors import WrongUse
from sprat_device.inference.serve.wire import Head, Refusal

_LEAST: Final = 16
_OPEN: Final = frozenset({"/healthz"})
"""Says nothing but that the program lives, to whatever looks after it."""


class Access:
    """Checks each request before anything else looks at it."""

    def __init__(self, settings: ServeSettings) -> None:
        """Read the token; WrongUse where its file is missing, too short or open to others."""
        self._token = _token(Path(settings.token_file)) if settings.token_file else ""
        over_tcp = not settings.listen.startswith(UNIX)
        self._hosts = frozenset[str]()
        if over_tcp and is_local(settings.listen):
            self._hosts = frozenset({"localhost", "127.0.0.1", "::1", address(settings.listen)[0]})

    def require(self, head: Head) -> None:
        """Raise Refusal for a request that must not be answered."""
        if "origin" in head.headers:
            raise Refusal(403, "forbidden", "requests of web pages are not answered; ask from a program")
        if self._hosts and (host := _host(head)) not in self._hosts:
            raise Refusal(421, "forbidden", f"Host: found {host[:80]!r}, expected {', '.join(sorted(self._hosts))}")
        if self._token and head.path not in _OPEN and not self._holds(head.headers.get("authorization", "")):
            raise Refusal(
                401, "forbidden", "Authorization: expected Bearer and the token of serve.token_file",
                WWW_Authenticate="Bearer",
            )  # fmt: skip

    def _holds(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self._token.encode())


def _host(head: Head) -> str:
    host = head.headers.get("host", "").lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.removesuffix(".")


def _token(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise WrongUse(f"serve.token_file {path}: cannot be read as one line of ASCII ({why})") from exc
    if stat.S_IMODE(mode) & 0o007:
        raise WrongUse(f"serve.token_file {path}: everybody on this machine may read it; chmod 640 {path}")
    if len(token) < _LEAST or len(token.split()) != 1:
        raise WrongUse(
            f"serve.token_file {path}: expected one word of at least {_LEAST} characters; "
            f"python3 -c 'import secrets; print(secrets.token_urlsafe())' > {path} makes one"
        )
    return token

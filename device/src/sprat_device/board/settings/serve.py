"""The HTTP server in front of the models that answer on demand: `[serve]`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting
from sprat_device.contract.errors import WrongUse

UNIX: Final = "unix:"


def _listen(raw: object) -> str:
    text = values.text(raw)
    if not re.fullmatch(r"unix:/.+|(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}", text):
        raise ValueError("HOST:PORT, [IPV6]:PORT or unix:/PATH")
    if not text.startswith(UNIX) and address(text)[1] > 65535:
        raise ValueError("a port from 0 to 65535")
    return text


class Mode(int):
    """Permissions, shown as they are written: in octal."""

    def __str__(self) -> str:
        return f"{int(self):04o}"


def _mode(raw: object) -> Mode:
    if isinstance(raw, str) and re.fullmatch(r"0?[0-7]{3}", raw):
        return Mode(int(raw, 8))
    raise ValueError("an octal mode as text, such as '0660'")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """`[serve]`: one server for all inputs of kind serve and http."""

    listen: str = setting("127.0.0.1:8178", _listen, "HOST:PORT, [IPV6]:PORT or unix:/PATH; port 0 is any free one")
    exposed: bool = setting(False, values.boolean, "allows an address that other machines reach; needs token_file")
    token_file: str = setting("", values.text, "file whose text a client sends as its Bearer token; empty is none")
    unix_mode: int = setting(Mode(0o660), _mode, "permissions of the Unix socket; who may write it may ask")
    unix_group: str = setting("", values.text, "group of the Unix socket; empty leaves the agent's own")
    queue: int = setting(64, values.integer(1, 100_000), "rows that may wait for one input; more is answered 503")
    batch_wait_ms: float = setting(
        0.0, values.number(0, 1000), "waits so long for more rows of a batch, but never for a request that comes alone"
    )
    max_body_bytes: int = setting(4 * 1024 * 1024, values.integer(1, 1024**3), "of one request; more is answered 413")
    max_json_bytes: int = setting(
        1024 * 1024, values.integer(1, 1024**3), "of one request in JSON, whose parsing keeps everything else waiting"
    )
    max_waiting_bytes: int = setting(
        16 * 1024 * 1024, values.integer(1, 1024**3),
        "that all requests together may hold, from their first byte to their answer's last; more is answered 503",
    )  # fmt: skip
    time_limit_s: float = setting(5.0, values.number(0.01, 3600), "until an answer; later is answered 504")
    request_s: float = setting(
        10.0, values.number(0.1, 600), "within which a request must arrive, and its answer leave"
    )
    idle_s: float = setting(60.0, values.number(0.1, 3600), "a connection without a request is closed")
    connections: int = setting(64, values.integer(1, 10_000), "open at once; one more closes the longest idle one")


def address(listen: str) -> tuple[str, int]:
    """Return host and port of an address that is no Unix socket."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def is_local(listen: str) -> bool:
    """Tell whether only this machine reaches an address; a name other than localhost counts as reachable."""
    if listen.startswith(UNIX):
        return True
    host, _ = address(listen)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_guarded(serve: ServeSettings, origins: Mapping[str, str]) -> None:
    """Raise WrongUse for an address that other machines reach without that being said and guarded by a token."""
    came_from = origins.get("serve.listen", "")
    if is_local(serve.listen):
        return
    if not serve.exposed:
        raise WrongUse(
            f"serve.listen ({came_from}): {serve.listen!r} is reachable from other machines; "
            f"use 127.0.0.1 or unix:/PATH, or set serve.exposed = true and a serve.token_file"
        )
    if not serve.token_file:
        raise WrongUse(f"serve.listen ({came_from}): {serve.listen!r} is exposed without a token; set serve.token_file")

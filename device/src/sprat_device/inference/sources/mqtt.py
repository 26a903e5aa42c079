"""A topic of a broker on the site: sensors and gateways that speak MQTT. The client's thread only enqueues.

paho is imported when a source of this kind opens. It does not reconnect by itself: a lost connection breaks the feed, and
`Reopening` makes a new one with jitter.
"""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any, Final

from sprat_device.board.clock import Clock
from sprat_device.board.settings import InputSettings
from sprat_device.inference.sources.item import Item, arrived
from sprat_device.inference.sources.waiting import Waiting

_CONNECT_S: Final = 5.0
_CLOSE_S: Final = 1.0
_KEEPALIVE_S: Final = 30


class Topic:
    """A subscription as a feed."""

    def __init__(self, settings: InputSettings, clock: Clock) -> None:
        """Begin to connect; whether that works shows when something is taken."""
        import paho.mqtt.client as paho  # noqa: PLC0415 - paid for only where it is used
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

        self._clock = clock
        self._waiting = Waiting(settings.queue)
        self._where = f"broker {settings.host}:{settings.port}"
        self._topic, self._qos = settings.topic, settings.qos
        client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = _CONNECT_S
        try:
            settings.host.encode("idna")  # as the resolver will: its error would end the client's thread without a word
        except UnicodeError as exc:
            raise OSError(f"{self._where}: no name that a host can have ({exc})") from exc
        if settings.username:
            client.username_pw_set(settings.username, password(settings.password_file))
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        try:
            client.connect_async(settings.host, settings.port, keepalive=_KEEPALIVE_S)
        except ValueError as exc:
            raise OSError(f"{self._where}: {exc}") from exc
        client.loop_start()
        self._client = client

    def take(self, timeout_s: float) -> Item | None:
        """Return the next message; OSError once the connection is lost and all messages are taken."""
        return self._waiting.take(timeout_s)

    def close(self) -> None:
        """Say goodbye; a client that hangs in a connection is left behind."""
        client = self._client
        # What it calls belongs to us and we to it: untied, its sockets go with it, not when memory is next looked through.
        client.on_connect = client.on_connect_fail = client.on_disconnect = None
        client.on_subscribe = client.on_message = None
        client.disconnect()
        ending = threading.Thread(target=client.loop_stop, name="mqtt source ends", daemon=True)
        ending.start()
        ending.join(_CLOSE_S)

    def _on_connect(self, client: Any, _user: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._waiting.gone(f"{self._where}: refused ({code})")
            return
        try:
            client.subscribe(self._topic, self._qos)
        except ValueError as exc:
            self._waiting.gone(f"topic {self._topic!r}: {exc}")

    def _on_connect_fail(self, _client: Any, _user: Any) -> None:
        self._waiting.gone(f"{self._where}: no connection")

    def _on_disconnect(self, _client: Any, _user: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._waiting.gone(f"{self._where}: connection lost ({code})")

    def _on_subscribe(self, _client: Any, _user: Any, _mid: Any, codes: Any, _properties: Any) -> None:
        if refused := [str(code) for code in codes if code.is_failure]:
            self._waiting.gone(f"{self._where}: topic {self._topic!r} refused ({refused[0]})")

    def _on_message(self, _client: Any, _user: Any, message: Any) -> None:
        self._waiting.put(arrived(self._clock, bytes(message.payload)))


def password(file: str) -> str | None:
    """Return the password in a file, None without a file; OSError where it cannot be read."""
    try:
        return Path(file).read_text(encoding="utf-8").strip() if file else None
    except UnicodeDecodeError as exc:
        raise OSError(errno.EILSEQ, "is no text in UTF-8", file) from exc

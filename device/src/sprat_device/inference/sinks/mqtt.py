"""Predictions to a topic of a broker on the site: for home automation, a control, a display. Works without the hub.

paho is imported when a sink of this kind opens, which is in the output's own thread.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from sprat_device.board.settings import OutputSettings
from sprat_device.inference.sinks.told import Told
from sprat_device.inference.sources.mqtt import password

_KEEPALIVE_S: Final = 30


class Topic:
    """A connection to a broker; a message that the broker did not take within the time limit breaks it."""

    def __init__(self, settings: OutputSettings) -> None:
        """Connect, or OSError."""
        import paho.mqtt.client as paho  # noqa: PLC0415 - paid for only where it is used
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

        self._settings = settings
        self._where = f"broker {settings.host}:{settings.port}"
        self._answered = threading.Event()
        self._refused = ""
        client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = settings.timeout_s
        if settings.username:
            client.username_pw_set(settings.username, password(settings.password_file))
        client.on_connect = self._on_connect
        try:
            client.connect(settings.host, settings.port, keepalive=_KEEPALIVE_S)
        except (OSError, ValueError) as exc:
            raise OSError(f"{self._where}: {exc}") from exc
        client.loop_start()
        self._client = client
        if not self._answered.wait(settings.timeout_s) or self._refused:
            self.close()
            raise OSError(f"{self._where}: {self._refused or 'no answer'}")

    def give(self, told: Told) -> None:
        """Publish one prediction; with qos 1 wait for the broker's word."""
        topic = _topic(told.fill(self._settings.topic))
        until_s = time.monotonic() + self._settings.timeout_s
        line, wanted = told.line.rstrip(), self._settings
        try:
            message = self._client.publish(topic, line, qos=wanted.qos, retain=wanted.retain)
            message.wait_for_publish(max(0.0, until_s - time.monotonic()))
        except (RuntimeError, ValueError) as exc:
            raise OSError(f"{self._where}: {exc}") from exc
        if not message.is_published():
            raise OSError(f"{self._where}: connection lost")

    def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_connect = None  # untied, its sockets go with it

    def _on_connect(self, _client: Any, _user: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._refused = f"refused ({code})" if code.is_failure else ""
        self._answered.set()


def _topic(filled: str) -> str:
    """Return a topic that may be published to: a label may hold what a topic must not."""
    return filled.translate({ord(sign): "_" for sign in "+#\0"})

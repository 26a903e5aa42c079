"""The hub's own client of the broker: hears presence and reported twins, sends desired twins.

The client's callbacks only enqueue (paho deadlocks on locks around `publish`); one worker thread keeps what was heard,
many messages to a transaction. After each connection every desired twin is sent again, for the store is the truth.
"""

from __future__ import annotations

import logging
import queue
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sprat.hub.fleet.presence import Heard, Presence
from sprat.hub.folder import Endpoint, HubFolder
from sprat_device.contract import topics
from sprat_device.contract.topics import Kind

_log = logging.getLogger(__name__)
_BATCH: Final = 500
_WAITING: Final = 20_000
"""Messages that may wait for the worker; beyond that the broker's flow control holds them."""
_KEEPALIVE_S: Final = 20


@dataclass(frozen=True, slots=True)
class _Connected:
    pass


@dataclass(frozen=True, slots=True)
class _Ended:
    pass


class HubLink:
    """One connection to the broker as user `hub`."""

    def __init__(self, folder: HubFolder, endpoint: Endpoint, presence: Presence) -> None:
        self._endpoint = endpoint
        self._presence = presence
        self._events: queue.Queue[Heard | _Connected | _Ended] = queue.Queue(_WAITING)
        self._client = _client(folder)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._on_connected: Callable[[], object] = lambda: None
        self._worker = threading.Thread(target=self._work, name="hub-link", daemon=True)

    def start(self, on_connected: Callable[[], object]) -> None:
        """Connect and stay connected; `on_connected` runs in the worker after each connection."""
        self._on_connected = on_connected
        self._worker.start()
        self._client.connect_async(self._endpoint.host, self._endpoint.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    def connected(self) -> bool:
        """Tell whether the broker answers; true on a dead link until its keepalive."""
        return self._client.is_connected()

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> bool:
        """Send one message; False where there is no connection: after the next one all is sent again."""
        if not self._client.is_connected():
            return False
        return self._client.publish(topic, payload, qos=1, retain=retain).rc == mqtt.MQTT_ERR_SUCCESS

    def stop(self) -> None:
        """Disconnect and keep what was heard."""
        self._client.disconnect()
        self._client.loop_stop()
        if self._worker.is_alive():
            self._events.put(_Ended())
            self._worker.join()

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:  # fmt: skip
        if reason.is_failure:
            _log.error("broker refused the hub: %s", reason)
            return
        client.subscribe([(topics.of_all_devices(kind), 1) for kind in (Kind.PRESENCE, Kind.REPORTED)])
        self._events.put(_Connected())

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self._events.put(Heard(message.topic, bytes(message.payload)))

    def _work(self) -> None:
        while True:
            batch, signals = self._next()
            if batch:
                self._keep(batch)
            if any(isinstance(signal, _Connected) for signal in signals):
                self._on_connected()
            if any(isinstance(signal, _Ended) for signal in signals):
                return

    def _next(self) -> tuple[list[Heard], list[_Connected | _Ended]]:
        batch: list[Heard] = []
        signals: list[_Connected | _Ended] = []
        event: Heard | _Connected | _Ended = self._events.get()
        while True:
            if isinstance(event, Heard):
                batch.append(event)
            else:
                signals.append(event)
            if len(batch) >= _BATCH:
                return batch, signals
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return batch, signals

    def _keep(self, batch: list[Heard]) -> None:
        try:
            self._presence.keep(batch)
        except Exception:  # noqa: BLE001 - logged whole; see below
            # A fault here must not end the thread: the fleet would look frozen while all is well with it.
            _log.exception("%d messages of devices could not be kept", len(batch))


def _client(folder: HubFolder) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hub", protocol=mqtt.MQTTv5)
    context = ssl.create_default_context(cafile=str(folder.authority.certificate))
    pair = folder.pair("hub")
    context.load_cert_chain(pair.certificate, pair.key)
    client.tls_set_context(context)
    client.reconnect_delay_set(min_delay=1, max_delay=5)
    client.max_queued_messages_set(_WAITING)
    return client

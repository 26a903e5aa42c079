"""MQTT 5 under the uplink: one paho client per connection, whose callbacks only enqueue signals.

A new client for each connection forgets paho's own queue: what was under way is sent again from the spool, which knows
what the hub has. The broker keeps the session (clean start off), so acks and commands wait for the device.
"""

from __future__ import annotations

import queue
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from sprat_device.contract.errors import HubUnreachable, MachineLacks
from sprat_device.contract.ids import DeviceId
from sprat_device.telemetry.refusals import LastError, meaning

NO_SUBSCRIBERS: Final = 0x10
_TAKEN_OVER: Final = 0x8E
WILL_DELAY_S: Final = 30
SESSION_EXPIRY_S: Final = 7 * 86_400
_KEEPALIVE_S: Final = 30
_CONNECT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker took us; `session_present` tells whether it still knew us."""

    session_present: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, or was refused; `taken_over`: another client has come under our name."""

    why: str
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """The broker answered a publish: a reason code of MQTT 5, never a proof that the hub has it."""

    mid: int
    code: int
    why: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker answered a subscription; `refused` holds the reasons of what it denied."""

    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """Something came for us."""

    topic: str
    payload: bytes
    reply_to: str = ""
    correlation: bytes = b""


@dataclass(frozen=True, slots=True)
class Woken:
    """Another thread has something to send."""


Signal = Connected | Lost | Published | Subscribed | Message | Woken


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when we fall silent."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the broker is and who we are; without `tls`, which is asked anew for each connection, only for loopback."""

    host: str
    port: int
    device: DeviceId
    tls: Callable[[], ssl.SSLContext] | None = None


class Transport(Protocol):
    """What the uplink asks of a connection; all but `wake` from one thread."""

    def connect(self, will: Will) -> None:
        """Begin to connect, or raise HubUnreachable; Connected or Lost follows as a signal."""

    def subscribe(self, topics: tuple[str, ...]) -> None:
        """Ask for topics with QoS 1, retained messages included."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes = b"") -> int:
        """Send with QoS 1 and return the id that Published will name, or raise HubUnreachable."""

    def mention(self, topic: str, payload: bytes) -> None:
        """Send with QoS 0: what is lost is not missed."""

    def receive(self, timeout_s: float) -> Signal | None:
        """Return the next signal, None after the timeout."""

    def wake(self) -> None:
        """Make `receive` return Woken; from any thread."""

    def disconnect(self) -> None:
        """Say goodbye, so that the will stays unsaid, after what was published is on its way."""

    def drop(self) -> None:
        """Let go of the connection without a word; messages that came by it are still received."""


class MqttTransport:
    """The real one, over paho."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._signals: queue.SimpleQueue[Signal] = queue.SimpleQueue()
        self._client: paho.Client | None = None
        self._error = LastError()

    def connect(self, will: Will) -> None:
        """Begin to connect."""
        self.drop()
        self._error.forget()
        try:
            client = self._make_client(will)
        except MachineLacks as exc:
            # Predictions go on and wait; the next attempt reads the identity again.
            raise HubUnreachable(str(exc)) from exc
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        where = f"{self._endpoint.host}:{self._endpoint.port}"
        try:
            client.connect(
                self._endpoint.host,
                self._endpoint.port,
                keepalive=_KEEPALIVE_S,
                clean_start=False,
                properties=properties,
            )
        except (OSError, ValueError) as exc:
            raise HubUnreachable(f"broker {where}: {meaning(str(exc))}") from exc
        self._client = client
        client.loop_start()

    def subscribe(self, topics: tuple[str, ...]) -> None:
        """Ask for topics with QoS 1."""
        if self._client is not None:
            self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes = b"") -> int:
        """Send with QoS 1."""
        if self._client is None:
            raise HubUnreachable("broker: not connected")
        properties = _properties(PacketTypes.PUBLISH)
        if correlation:
            properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if info.rc not in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_QUEUE_SIZE):
            raise HubUnreachable(f"broker: {paho.error_string(info.rc)}")
        return info.mid

    def mention(self, topic: str, payload: bytes) -> None:
        """Send with QoS 0."""
        if self._client is not None:
            self._client.publish(topic, payload, qos=0)

    def receive(self, timeout_s: float) -> Signal | None:
        """Return the next signal, None after the timeout."""
        try:
            return self._signals.get(timeout=timeout_s) if timeout_s > 0 else self._signals.get_nowait()
        except queue.Empty:
            return None

    def wake(self) -> None:
        """Make `receive` return Woken."""
        self._signals.put(Woken())

    def disconnect(self) -> None:
        """Say goodbye: paho sends in order, so what was published goes first."""
        if self._client is not None:
            self._client.disconnect()
        self.drop()

    def drop(self) -> None:
        """Let go of the connection, and of all that is still queued of it but messages."""
        client, self._client = self._client, None
        if client is None:
            return
        client.on_disconnect = None
        client.loop_stop()
        # The broker has our word for these, and will not bring them again.
        messages: list[Message] = []
        while (signal := self.receive(0)) is not None:
            messages += [signal] if isinstance(signal, Message) else []
        for message in messages:
            self._signals.put(message)

    def _make_client(self, will: Will) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._endpoint.device,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,  # the uplink reconnects, with jitter
        )
        client.connect_timeout = _CONNECT_S
        if self._endpoint.tls is not None:
            client.tls_set_context(self._endpoint.tls())
        properties = _properties(PacketTypes.WILLMESSAGE)
        properties.WillDelayInterval = WILL_DELAY_S
        client.will_set(will.topic, will.payload, qos=1, retain=True, properties=properties)
        client.enable_logger(self._error.logger)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(self, _c: paho.Client, _u: Any, flags: Any, code: ReasonCode, _p: Any) -> None:
        refused = code.is_failure
        self._signals.put(Lost(f"refused: {code}") if refused else Connected(bool(flags.session_present)))

    def _on_disconnect(self, _c: paho.Client, _u: Any, _flags: Any, code: ReasonCode, _p: Any) -> None:
        self._signals.put(Lost(self._error.why(str(code)), taken_over=code.value == _TAKEN_OVER))

    def _on_publish(self, _c: paho.Client, _u: Any, mid: int, code: ReasonCode, _p: Any) -> None:
        self._signals.put(Published(mid, code.value, str(code)))

    def _on_subscribe(self, _c: paho.Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any) -> None:
        self._signals.put(Subscribed(tuple(str(code) for code in codes if code.is_failure)))

    def _on_message(self, _c: paho.Client, _u: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        reply_to = getattr(properties, "ResponseTopic", "")
        correlation = getattr(properties, "CorrelationData", b"")
        self._signals.put(Message(message.topic, bytes(message.payload), reply_to, correlation))


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho leaves this one constructor untyped

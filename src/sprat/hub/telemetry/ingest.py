"""The ingest process: `python -m sprat.hub.telemetry.ingest HUB --mqtt-port N`, the one writer of `HUB/telemetry.db`.

It subscribes with `$share`, so that more workers could share the work; its session is not kept: what arrives while it
is away stays with the devices, which send again whatever was not acked. It ends on SIGTERM, or when its parent is gone.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from sprat.errors import ContractError, SpratError
from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore
from sprat.hub.store.telemetry_commit import TelemetryWriter
from sprat.hub.telemetry.worker import Worker
from sprat_device.contract import topics
from sprat_device.contract.acks import Ack
from sprat_device.contract.ids import DeviceId

CLIENT_ID: Final = "ingest"
SHARE: Final = "ingest"
_QUEUED_FRAMES: Final = 2000
"""Beyond this the client stops reading, so the broker and the devices' windows hold the rest."""
_KEEPALIVE_S: Final = 30
_RETENTION_EVERY_S: Final = 3600.0
_DAY_US: Final = 86_400_000_000

log = logging.getLogger("sprat.ingest")


class MqttMailbox:
    """Frames from the broker into a bounded queue; acks back."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._queue: queue.Queue[tuple[str, bytes]] = queue.Queue(_QUEUED_FRAMES)
        self._stopping = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, protocol=mqtt.MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.reconnect_delay_set(min_delay=1, max_delay=15)
        self._client.connect_async(host, port, keepalive=_KEEPALIVE_S, clean_start=True)
        self._client.loop_start()

    def take(self, *, timeout_s: float, max_frames: int, max_bytes: int) -> list[tuple[str, bytes]]:
        """Return what is queued, waiting at most `timeout_s` for the first."""
        taken: list[tuple[str, bytes]] = []
        size = 0
        with suppress(queue.Empty):  # the end of what is queued
            while len(taken) < max_frames and size < max_bytes:
                taken.append(self._queue.get(block=not taken, timeout=timeout_s))
                size += len(taken[-1][1])
        return taken

    def ack(self, device: str, ack: Ack) -> None:
        """Publish an ack; one that is lost costs a resend, which is acked again."""
        self._client.publish(topics.ack(DeviceId(device)), ack.dump(), qos=1)

    def close(self) -> None:
        """Leave the broker."""
        self._stopping = True
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, _props: object) -> None:
        if code.is_failure:
            log.warning("broker refused: %s", code)
            return
        client.subscribe(topics.of_all_devices(topics.Kind.FRAMES, share=SHARE), qos=1)

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, _mid: int, codes: list[ReasonCode], _props: object
    ) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        log.log(logging.ERROR if refused else logging.INFO, "subscription %s", refused or "ready")

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, _props: object
    ) -> None:
        if not self._stopping:
            log.warning("broker gone (%s); connecting again", code)

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        try:
            device = topics.parse(message.topic).device
        except ContractError as exc:
            log.warning("message left out: %s", exc)
            return
        while not self._stopping and not self._put(device, bytes(message.payload)):
            pass

    def _put(self, device: str, raw: bytes) -> bool:
        try:
            self._queue.put((device, raw), timeout=1)
        except queue.Full:
            return False
        return True


class _Stop:
    """Set by a signal; also when the parent process has gone."""

    def __init__(self) -> None:
        self._asked = False
        self._parent = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True

    def __bool__(self) -> bool:
        return self._asked or os.getppid() != self._parent


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        with TelemetryStore(options.hub / FILE_NAME) as store:
            _run(TelemetryWriter(store), options)
    except SpratError as exc:
        print(f"sprat ingest: {exc}", file=sys.stderr)  # noqa: T201 - a program's last word
        return exc.exit_code
    return 0


def _run(writer: TelemetryWriter, options: argparse.Namespace) -> None:
    stop = _Stop()
    mailbox = MqttMailbox(options.mqtt_host, options.mqtt_port, _tls(options))
    try:
        worker = Worker(writer, mailbox, _now_us)
        due = 0.0
        while not stop:
            if time.monotonic() >= due:
                writer.forget_frames(before_us=_now_us() - options.keep_days * _DAY_US)
                due = time.monotonic() + _RETENTION_EVERY_S
            worker.step(0.5)
    finally:
        mailbox.close()


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.ca is None:
        return None
    context = ssl.create_default_context(cafile=options.ca)
    context.load_cert_chain(options.cert, options.key)
    return context


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("sprat.hub.telemetry.ingest", description="Store what devices send, then ack it.")
    parser.add_argument("hub", type=Path, help="folder of the hub")
    parser.add_argument("--mqtt-host", default="127.0.0.1")
    parser.add_argument("--mqtt-port", type=int, required=True)
    for name, what in (("ca", "CA certificate; without it the link is not encrypted"), ("cert", "own"), ("key", "own")):
        parser.add_argument(f"--{name}", type=Path, help=f"{what} (PEM)")
    parser.add_argument("--keep-days", type=int, default=90, help="days that frames are kept; sums stay")
    return parser.parse_args(arguments)


def _now_us() -> int:
    return time.time_ns() // 1000


if __name__ == "__main__":
    sys.exit(main())

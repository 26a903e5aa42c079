"""The broker of a demo on a machine without mosquitto: the `iotcore` wheel (rumqttd), on loopback and nowhere else.

It speaks MQTT 5 over the hub's TLS, but knows neither client certificates nor rights: whoever reaches its port may
read and write everything. The hub says so wherever it shows its broker.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterable
from typing import Final

from sprat.errors import MachineLacks, WrongUse
from sprat.hub.broker import Broker, ChildBroker, Mosquitto, find_mosquitto
from sprat.hub.folder import Endpoint, HubFolder, write_private
from sprat.hub.ports import LOOPBACK_HOSTS
from sprat.hub.processes import Child
from sprat_device.contract.frame import MAX_CAPTURE_BODY
from sprat_device.contract.ids import DeviceId

_log = logging.getLogger(__name__)
WARNING: Final = "demo broker: it knows no rights, whoever reaches its port reads and writes all; install mosquitto"


class DemoBroker(ChildBroker):
    """An iotcore child process."""

    kind = "iotcore"

    def __init__(self, folder: HubFolder, endpoint: Endpoint) -> None:
        if endpoint.host not in LOOPBACK_HOSTS:
            raise WrongUse(f"the demo broker serves loopback only, not {endpoint.host}; {WARNING.partition('; ')[2]}")
        conf = folder.broker / "iotcore.toml"
        argv = (sys.executable, "-m", "iotcore", "--config", str(conf), "--log-level", "CRITICAL")
        super().__init__(endpoint, Child("iotcore", argv, folder.broker), conf, _settings(folder, endpoint))
        self._folder = folder

    def refuse(self, devices: Iterable[DeviceId], crl: bytes) -> None:
        """Keep the CRL for a later mosquitto; this broker cannot refuse anyone."""
        write_private(self._folder.crl, crl)
        if refused := tuple(devices):
            _log.warning("%s is revoked, but the demo broker goes on letting it in", ", ".join(refused))


def choose(folder: HubFolder, endpoint: Endpoint, *, demo: bool) -> Broker:
    """Return mosquitto; where there is none, the demo's broker if it was asked for."""
    try:
        find_mosquitto()
    except MachineLacks:
        if not demo or importlib.util.find_spec("iotcore") is None:
            raise
        _log.warning(WARNING)
        return DemoBroker(folder, endpoint)
    return Mosquitto(folder, endpoint)


def warning_of(broker: Broker) -> str:
    """Return what people must be told of a broker, empty for a proper one."""
    return WARNING if broker.kind == DemoBroker.kind else ""


def _settings(folder: HubFolder, endpoint: Endpoint) -> str:
    server = folder.pair("server")
    return f"""\
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "devices"
listen = "{endpoint.host}:{endpoint.port}"
next_connection_delay_ms = 1
[v5.1.tls]
capath = "{folder.authority.certificate}"
certpath = "{server.certificate}"
keypath = "{server.key}"
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {MAX_CAPTURE_BODY + 64 * 1024}
max_inflight_count = 100
dynamic_filters = true
"""

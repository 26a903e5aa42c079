"""The agent's imports: what costs memory and is not used stays out, and is still there for who asks for it."""

from __future__ import annotations

import subprocess
import sys

AGENT = """
import sys
from sprat_device.telemetry import lean
lean.import_client()
import sprat_device.daemon
print(*sorted({"urllib.request", "http.client", "email.parser", "importlib.metadata", "cryptography", "tuf"} & set(sys.modules)))
"""
LATER = """
import urllib.request
print(hasattr(urllib.request, "urlopen"))
import paho.mqtt.client as paho
print(paho.Client(paho.CallbackAPIVersion.VERSION2)._get_proxy())
"""


def _said(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_the_agent_does_without_libraries_for_http_mail_and_metadata() -> None:
    assert _said(AGENT) == [""]


def test_who_needs_them_later_gets_the_real_ones_and_the_client_finds_no_proxy() -> None:
    assert _said(AGENT + LATER) == ["", "True", "None"]

"""The message client without what it never uses: `urllib.request`, and with it the libraries for HTTP and e-mail.

paho asks it for a SOCKS proxy, and only where PySocks is installed; it costs every other agent one MiB of memory.
"""

from __future__ import annotations

import importlib
import sys
import urllib
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

_SPARED: Final = "urllib.request"


def import_client() -> None:
    """Import paho while an empty stand-in answers for `urllib.request`; who imports that later gets the real one."""
    if _SPARED in sys.modules or "paho.mqtt.client" in sys.modules or find_spec("socks") is not None:
        return
    package: Any = urllib
    stand_in: Any = ModuleType(_SPARED)
    stand_in.getproxies = dict  # no proxies
    sys.modules[_SPARED] = stand_in
    package.request = stand_in
    try:
        importlib.import_module("paho.mqtt.client")
    finally:
        del sys.modules[_SPARED]

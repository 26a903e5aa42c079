"""A look at the hub without an offer, in the updater's process: keeps the certificate, trusted time and the twin fresh.

Signed metadata decides what may be installed here, the hub decides what shall be: a look installs nothing by itself.
It asks for the desired twin over the device port, so that a device whose way to the broker is blocked hears of its
offers too, and it verifies the newest metadata, which moves trusted time and shows a repository that is frozen.
"""

from __future__ import annotations

from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.renewal import DESIRED_PATH
from sprat_device.install.look_record import Look
from sprat_device.install.origins import FileMissing, HubRefused, TryLater
from sprat_device.install.renewal import Hub, renew
from sprat_device.install.work import Ports


def look(ports: Ports, hub: Hub) -> Look:
    """Look at the hub, or raise TryLater where it does not answer."""
    ends_us, not_renewed = _renewed(ports, hub)
    reason, detail = _refreshed(ports)
    return Look(_desired(hub), ends_us, not_renewed, reason, detail)


def _renewed(ports: Ports, hub: Hub) -> tuple[int, str]:
    try:
        now_us = ports.trust.trusted_us()
        return renew(ports.identity, hub, files=ports.files, now_us=now_us) or 0, ""
    except FileMissing:
        return 0, "the hub does not know renewal; upgrade it"
    except HubRefused as exc:
        return 0, str(exc)


def _refreshed(ports: Ports) -> tuple[str, str]:
    if not ports.identity.models:
        return "", ""
    try:
        # All models stand in the one role of this device's channel.
        ports.trust.listed(ports.origin, ports.identity.channel, ports.identity.models[0])
    except BundleRefused as exc:
        return exc.reason, str(exc.args[0])[:1000]
    return "", ""


def _desired(hub: Hub) -> str:
    try:
        return hub.ask("GET", DESIRED_PATH).decode("utf-8", "replace")
    except FileMissing:
        return ""  # nothing is wanted yet, or the hub is an earlier one
    except HubRefused as exc:
        raise TryLater(str(exc)) from exc

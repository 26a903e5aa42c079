"""What of the hub's wishes this device does not follow, and why: the hub shows it instead of wondering."""

from __future__ import annotations

from collections.abc import Mapping

from sprat_device.agent.stream import label
from sprat_device.board import logs
from sprat_device.board.settings import FILE_NAME, DeviceSettings
from sprat_device.contract.capture import Wish
from sprat_device.contract.errors import did_you_mean
from sprat_device.contract.twin import Desired


def refused(local: DeviceSettings, desired: Desired) -> Mapping[str, str]:
    """Return each part of the desired state that the device's own settings do not let count, with the remedy."""
    told = {
        "inputs": _inputs(local, desired),
        "log_level": _log_level(desired),
        "capture": _capture(local, desired),
        "shadows": _shadows(local, desired),
    }
    return {part: why for part, why in told.items() if why}


def _inputs(local: DeviceSettings, desired: Desired) -> str:
    if not desired.inputs:
        return ""
    if not local.remote.inputs:
        return _off("remote.inputs", "[remote] inputs = true")
    known = sorted({label(entry) for entry in local.inputs})
    strange = sorted(set(desired.inputs) - set(known))
    if not strange:
        return ""
    return (
        f"no input {strange[0][:96]!r} here, expected one of {', '.join(known)[:200] or 'none'}"
        f"{did_you_mean(strange[0], known)}"
    )


def _log_level(desired: Desired) -> str:
    level = desired.log_level
    return f"found {level!r}, expected one of {', '.join(logs.LEVELS)}" if level and level not in logs.LEVELS else ""


def _capture(local: DeviceSettings, desired: Desired) -> str:
    if desired.capture == Wish():
        return ""
    if not local.capture.enabled:
        return _off("capture.enabled", "[capture] enabled = true")
    return "" if local.capture.hub_may_tune else _off("capture.hub_may_tune", "[capture] hub_may_tune = true")


def _shadows(local: DeviceSettings, desired: Desired) -> str:
    return _off("shadow.enabled", "[shadow] enabled = true") if desired.shadows and not local.shadow.enabled else ""


def _off(key: str, line: str) -> str:
    return f"{key} is off on this device; its owner allows it by {line} in {FILE_NAME}, and a reload"

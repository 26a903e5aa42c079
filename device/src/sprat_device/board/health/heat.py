"""Temperature and power: the hottest zone, the processor's own, and what a Raspberry Pi's firmware holds against its supply."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sprat_device.board.health.reading import Probe, Values, text

FLAGS: Final = ("undervoltage", "frequency-capped", "throttled", "temperature-limit")
"""Bits 0 to 3 now and 16 to 19 since boot; raspberrypi.com/documentation/computers/os.html, get_throttled."""
_SINCE_BOOT: Final = 16
_SOC: Final = ("cpu", "soc", "x86_pkg", "acpitz")
_POSSIBLE_C: Final = (-60.0, 200.0)
"""A zone without its sensor says -274 or thousands."""


class Heat:
    """Knows its zones from the start; each sample reads one small file per zone."""

    def __init__(self, sys: Path) -> None:
        self._zones = [(_type(path), path / "temp") for path in sorted(sys.glob("class/thermal/thermal_zone*"))]
        self._firmware = next(iter(sorted(sys.glob("devices/platform/soc*/*firmware*/get_throttled"))), None)
        self._alarm = next(
            (path.parent / "in0_lcrit_alarm" for path in sorted(sys.glob("class/hwmon/hwmon*/name")) if _is(path, "rpi_volt")),
            None,
        )  # fmt: skip

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what there is to read."""
        return (self._temperature, self._throttling, self._supply)

    def _temperature(self) -> Values:
        found = [(kind, value) for kind, path in self._zones if (value := _celsius(path)) is not None]
        if not found:
            return {}
        soc = next((value for name in _SOC for kind, value in found if kind.startswith(name)), None)
        return {"temperature_c": max(value for _, value in found)} | ({} if soc is None else {"soc_c": soc})

    def _throttling(self) -> Values:
        if self._firmware is None:
            return {}
        bits = int(text(self._firmware), 16)
        return {"throttled": bits, "power_now": _names(bits), "power_since_boot": _names(bits >> _SINCE_BOOT)}

    def _supply(self) -> Values:
        """Return the alarm of the kernel's own driver, where the firmware's file is not shown."""
        if self._alarm is None or self._firmware is not None:
            return {}
        return {"power_now": FLAGS[0] if int(text(self._alarm)) else ""}


def _names(bits: int) -> str:
    return ",".join(name for place, name in enumerate(FLAGS) if bits >> place & 1)


def _celsius(path: Path) -> float | None:
    try:
        value = int(text(path)) / 1000
    except (OSError, ValueError):
        return None  # this zone's sensor is off
    return value if _POSSIBLE_C[0] < value < _POSSIBLE_C[1] else None


def _type(zone: Path) -> str:
    try:
        return text(zone / "type").lower()  # a Jetson says CPU-therm
    except OSError:
        return ""


def _is(path: Path, name: str) -> bool:
    try:
        return text(path) == name
    except OSError:
        return False

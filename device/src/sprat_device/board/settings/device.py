"""All settings of a device as one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sprat_device.board.settings import values
from sprat_device.board.settings.capture import CaptureSettings
from sprat_device.board.settings.drift import DriftSettings
from sprat_device.board.settings.entry import section, sections_of, setting, settings_of, tables, tables_of
from sprat_device.board.settings.health import HealthSettings
from sprat_device.board.settings.hub import HubSettings
from sprat_device.board.settings.inputs import InputSettings
from sprat_device.board.settings.install import InstallSettings
from sprat_device.board.settings.outputs import OutputSettings
from sprat_device.board.settings.remote import RemoteSettings
from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.board.settings.serve import ServeSettings
from sprat_device.board.settings.shadow import ShadowSettings
from sprat_device.board.settings.telemetry import TelemetrySettings
from sprat_device.contract.phases import ClockState

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """All settings, and where each value came from."""

    log_level: str = setting("info", values.choice("debug", "info", "warning", "error"), "how much the agent says")
    log_format: str = setting("plain", values.choice("plain", "pairs", "json"), "how a line of the log looks")
    clock: str = setting(
        "auto", values.choice("auto", *ClockState), "whether the wall clock is set; auto asks the kernel"
    )
    hub: HubSettings = section(HubSettings)
    telemetry: TelemetrySettings = section(TelemetrySettings)
    install: InstallSettings = section(InstallSettings)
    runtime: RuntimeSettings = section(RuntimeSettings)
    serve: ServeSettings = section(ServeSettings)
    remote: RemoteSettings = section(RemoteSettings)
    health: HealthSettings = section(HealthSettings)
    drift: DriftSettings = section(DriftSettings)
    capture: CaptureSettings = section(CaptureSettings)
    shadow: ShadowSettings = section(ShadowSettings)
    inputs: tuple[InputSettings, ...] = tables(InputSettings)
    outputs: tuple[OutputSettings, ...] = tables(OutputSettings)
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def clock_state(self) -> ClockState | None:
        """Return the fixed clock state, None when the kernel shall be asked."""
        return None if self.clock == "auto" else ClockState(self.clock)

    def describe(self) -> list[tuple[str, str, str]]:
        """Return (key, value, where it came from) of every setting, for `--show-settings`."""
        rows = [(key, _show(_look_up(self, key)), self.origins.get(key, DEFAULT)) for key in KEYS]
        for name, owner in TABLES.items():
            for i, table in enumerate(getattr(self, name)):
                place = f"{name}[{i}]"
                keys = table.shown() if hasattr(table, "shown") else settings_of(owner)
                rows += [
                    (f"{place}.{key}", _show(getattr(table, key)), self.origins.get(f"{place}.{key}", DEFAULT))
                    for key in keys
                ]
        return rows


SECTIONS: Final = sections_of(DeviceSettings)
TABLES: Final = tables_of(DeviceSettings)
KEYS: Final = settings_of(DeviceSettings) | {
    f"{name}.{key}": entry for name, owner in SECTIONS.items() for key, entry in settings_of(owner).items()
}
"""Every setting outside the lists of tables by its dotted key."""


def _look_up(settings: DeviceSettings, key: str) -> object:
    section_, _, name = key.rpartition(".")
    return getattr(getattr(settings, section_) if section_ else settings, name)


def _show(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)

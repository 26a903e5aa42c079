"""The agent's settings: one frozen object, validated whole, passed and never imported.

A value comes from a flag, else from the environment (`SPRAT_TELEMETRY_CAP_BYTES`), else from `STATE/sprat.toml`, else
from the default below. An unknown key is an error that names its line and the nearest known key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from sprat_device.board import values
from sprat_device.contract.errors import ContractError, WrongUse, did_you_mean
from sprat_device.contract.ids import model_name
from sprat_device.contract.phases import ClockState
from sprat_device.contract.twin import Detail

FILE_NAME: Final = "sprat.toml"
PREFIX: Final = "SPRAT_"
DEFAULT: Final = "default"
RUNTIMES: Final = ("tflite", "litert", "onnx")
SOURCES: Final = ("replay", "stdin", "folder")


def _setting(default: Any, read: Callable[[object], Any], about: str) -> Any:
    return field(default=default, metadata={"read": read, "about": about})


@dataclass(frozen=True, slots=True)
class InputSettings:
    """One source of inputs: `[[inputs]]`."""

    model: str = _setting("", model_name, "the model that it feeds")
    kind: str = _setting("", values.choice(*SOURCES), "what it reads")
    path: str = _setting("", values.text, "file or folder, for replay and folder")
    rate_hz: float = _setting(0.0, values.number(0, 100_000), "inputs a second; 0 is as fast as they come")
    loop: bool = _setting(False, values.boolean, "begin again at the end")


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """`[telemetry]`."""

    detail: str = _setting(Detail.FULL.value, values.choice(*Detail), "full, sampled or summary")
    sample_every: int = _setting(
        20, values.integer(1), "of predictions, under detail sampled; unusual ones are always kept"
    )
    frame_interval_s: float = _setting(5.0, values.number(0.05, 3600), "what a power cut may lose at most")
    cap_bytes: int = _setting(64 * 1024 * 1024, values.integer(1024 * 1024), "the spool's room on the disk")
    window_frames: int = _setting(16, values.integer(1, 1000), "frames under way without the hub's ack")
    backlog_bytes_per_s: int = _setting(256 * 1024, values.integer(0), "pace of what waited; 0 is no limit")
    daily_bytes: int = _setting(0, values.integer(0), "detail steps down when a day's frames exceed it; 0 is no limit")
    summary_interval_s: float = _setting(60.0, values.number(0.1, 86_400), "between two summaries")


@dataclass(frozen=True, slots=True)
class InstallSettings:
    """`[install]`."""

    probation_predictions: int = _setting(50, values.integer(1), "good predictions that confirm a bundle")
    probation_starts: int = _setting(3, values.integer(1, 100), "starts without reaching that, then it is reverted")
    max_error_share: float = _setting(0.02, values.number(0, 1), "of a bundle on trial")
    attempts: int = _setting(2, values.integer(1, 100), "downloads of one offer")
    poll_s: float = _setting(3600.0, values.number(1, 604_800), "between two looks at the hub without an offer")
    minimum_bytes_per_s: int = _setting(1024, values.integer(0), "a slower download is given up")
    total_s: float = _setting(3600.0, values.number(1, 604_800), "longest time of a download")


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """`[runtime]`."""

    threads: int = _setting(1, values.integer(1, 64), "of the inference runtime")
    prefer: tuple[str, ...] = _setting(
        RUNTIMES, values.choices(*RUNTIMES), "first that the bundle and the machine have"
    )


@dataclass(frozen=True, slots=True)
class HubSettings:
    """`[hub]`: other ways to the hub than the enrolment told, for a gateway or a relay at the site."""

    url: str = _setting("", values.text, "device port; empty is the enrolment's")
    mqtt_host: str = _setting("", values.text, "broker; empty is the enrolment's")
    mqtt_port: int = _setting(0, values.integer(0, 65535), "broker; 0 is the enrolment's")


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """All settings, and where each value came from."""

    log_level: str = _setting("info", values.choice("debug", "info", "warning", "error"), "how much the agent says")
    clock: str = _setting(
        "auto", values.choice("auto", *ClockState), "whether the wall clock is set; auto asks the kernel"
    )
    hub: HubSettings = HubSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    install: InstallSettings = InstallSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    inputs: tuple[InputSettings, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def clock_state(self) -> ClockState | None:
        """Return the fixed clock state, None when the kernel shall be asked."""
        return None if self.clock == "auto" else ClockState(self.clock)

    def describe(self) -> list[tuple[str, str, str]]:
        """Return (key, value, where it came from) of every setting, for `--show-settings`."""
        rows = [(key, _show(_look_up(self, key)), self.origins.get(key, DEFAULT)) for key in KEYS]
        for i, entry in enumerate(self.inputs):
            name = f"inputs[{i}]"
            rows += [(f"{name}.{f.name}", _show(getattr(entry, f.name)), self.origins[name]) for f in fields(entry)]
        return rows


_SECTIONS: Final[dict[str, type]] = {
    "hub": HubSettings,
    "telemetry": TelemetrySettings,
    "install": InstallSettings,
    "runtime": RuntimeSettings,
}


def _known(owner: type, prefix: str = "") -> Iterator[tuple[str, Field[Any]]]:
    for entry in fields(owner):
        if "read" in entry.metadata:
            yield prefix + entry.name, entry


KEYS: Final[dict[str, Field[Any]]] = dict(_known(DeviceSettings)) | {
    key: entry for name, owner in _SECTIONS.items() for key, entry in _known(owner, f"{name}.")
}
"""Every setting outside `[[inputs]]` by its dotted key."""
_INPUT_KEYS: Final = dict(_known(InputSettings))


def load(
    state: Path, *, environment: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> DeviceSettings:
    """Read the settings of the device whose state folder is `state`; WrongUse names what is wrong and where.

    `flags` maps dotted keys to values (None is ignored); `inputs` maps to a list of mappings.
    """
    path = state / FILE_NAME
    found, origins = _from_file(path)
    inputs: object = found.pop("inputs", [])
    inputs_from = str(path)
    for key, raw in _from_environment(environment or {}):
        found[key], origins[key] = raw, f"environment {_variable(key)}"
    for key, value in (flags or {}).items():
        if value is None:
            continue
        if key == "inputs":
            inputs, inputs_from = value, "flag"
            continue
        if key not in KEYS:
            raise WrongUse(f"flag {key!r}: unknown setting{did_you_mean(key, KEYS)}")
        found[key], origins[key] = value, "flag"
    return _build(found, origins, inputs, inputs_from)


def _build(found: Mapping[str, object], origins: dict[str, str], inputs: object, inputs_from: str) -> DeviceSettings:
    read = {key: _read(KEYS[key], key, raw, origins[key]) for key, raw in found.items()}
    if not isinstance(inputs, list | tuple):
        raise WrongUse(f"inputs ({inputs_from}): found {inputs!r}, expected a list of tables: [[inputs]]")
    entries = tuple(_input(raw, f"inputs[{i}]", inputs_from) for i, raw in enumerate(inputs))
    models = [entry.model for entry in entries]
    if len(set(models)) < len(models):
        raise WrongUse(f"inputs ({inputs_from}): model {max(models, key=models.count)!r} has two sources; keep one")
    origins |= {f"inputs[{i}]": inputs_from for i in range(len(entries))}
    top = {key: value for key, value in read.items() if "." not in key}
    sections = {
        name: owner(**{key.split(".")[1]: value for key, value in read.items() if key.startswith(f"{name}.")})
        for name, owner in _SECTIONS.items()
    }
    return DeviceSettings(**top, **sections, inputs=entries, origins=origins)


def _from_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        return {}, {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise WrongUse(f"{path}: cannot be read ({exc})") from exc
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in _SECTIONS and isinstance(value, dict):
            found |= {f"{name}.{key}": entry for key, entry in value.items()}
        else:
            found[name] = value
    known = [*KEYS, "inputs"]
    for key in found:
        if key not in known:
            raise WrongUse(f"{path}:{values.line_of(text, key)}: unknown setting {key!r}{did_you_mean(key, known)}")
    inputs = found.get("inputs", [])
    for i, entry in enumerate(inputs if isinstance(inputs, list) else []):
        for key in entry if isinstance(entry, dict) else ():
            if key not in _INPUT_KEYS:
                line = values.line_of(text, f"inputs.{key}", table=i)
                raise WrongUse(f"{path}:{line}: unknown setting {key!r} of [[inputs]]{did_you_mean(key, _INPUT_KEYS)}")
    return found, {key: f"{path}:{values.line_of(text, key)}" for key in found}


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = {_variable(key): key for key in KEYS}
    for name, value in environment.items():
        if name in known:
            yield known[name], value
        elif name.startswith(tuple(f"{PREFIX}{section.upper()}_" for section in _SECTIONS)):
            raise WrongUse(f"environment {name}: unknown setting{did_you_mean(name, known)}")


def _input(raw: object, where: str, came_from: str) -> InputSettings:
    if not isinstance(raw, Mapping):
        raise WrongUse(f"{where} ({came_from}): found {raw!r}, expected a table")
    for key in ("model", "kind"):
        if key not in raw:
            raise WrongUse(f"{where} ({came_from}): {key!r} is missing")
    for key in raw:
        if key not in _INPUT_KEYS:
            raise WrongUse(f"{where} ({came_from}): unknown setting {key!r}{did_you_mean(key, _INPUT_KEYS)}")
    return InputSettings(
        **{key: _read(_INPUT_KEYS[key], f"{where}.{key}", value, came_from) for key, value in raw.items()}
    )


def _read(entry: Field[Any], key: str, raw: object, came_from: str) -> Any:
    try:
        return entry.metadata["read"](raw)
    except ContractError as exc:
        raise WrongUse(f"{key} ({came_from}): {exc}") from exc
    except ValueError as exc:
        raise WrongUse(f"{key} ({came_from}): found {raw!r}, expected {exc}") from exc


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", "_").upper()


def _look_up(settings: DeviceSettings, key: str) -> object:
    section, _, name = key.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, name)


def _show(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)

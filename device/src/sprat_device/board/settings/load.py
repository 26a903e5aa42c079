"""Reads the settings: validated whole, passed and never imported.

A value comes from a flag, else from the environment (`SPRAT_TELEMETRY_CAP_BYTES`), else from `STATE/sprat.toml`, else
from its default. An unknown key is an error that names its line and the nearest known key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, Final

from sprat_device.board.settings import inputs, serve, values
from sprat_device.board.settings.device import KEYS, SECTIONS, TABLES, DeviceSettings
from sprat_device.board.settings.entry import settings_of
from sprat_device.contract.errors import ContractError, WrongUse, did_you_mean

FILE_NAME: Final = "sprat.toml"
PREFIX: Final = "SPRAT_"


def load(
    state: Path, *, environment: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> DeviceSettings:
    """Read the settings of the device whose state folder is `state`; WrongUse names what is wrong and where.

    `flags` maps dotted keys to values (None is ignored); the name of a list maps to a list of mappings.
    """
    found, origins = _from_file(state / FILE_NAME)
    for key, raw in _from_environment(environment or {}):
        found[key], origins[key] = raw, f"environment {_variable(key)}"
    for key, value in (flags or {}).items():
        if value is None:
            continue
        if key not in KEYS and key not in TABLES:
            raise WrongUse(f"flag {key!r}: unknown setting{did_you_mean(key, KEYS)}")
        found[key], origins[key] = value, "flag"
        if key in TABLES:
            origins = {place: came for place, came in origins.items() if not place.startswith(f"{key}[")}
    return _build(found, origins)


def _build(found: Mapping[str, object], origins: dict[str, str]) -> DeviceSettings:
    read: dict[str, Any] = {
        key: _read(KEYS[key], key, raw, origins[key]) for key, raw in found.items() if key not in TABLES
    }
    settings: dict[str, Any] = {key: value for key, value in read.items() if "." not in key}
    for name, owner in SECTIONS.items():
        settings[name] = owner(**{key.split(".")[1]: v for key, v in read.items() if key.startswith(f"{name}.")})
    for name in TABLES:
        if name in found:
            settings[name] = _tables(name, found[name], origins)
    inputs.require_distinct(settings.get("inputs", ()), origins.get("inputs", ""))
    serve.require_guarded(settings["serve"], origins)
    return DeviceSettings(**settings, origins=origins)


def _from_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        return {}, {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        remedy = "; let the agent's user read it" if isinstance(exc, PermissionError) else ""
        raise WrongUse(f"{path}: cannot be read ({why}){remedy}") from exc
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in SECTIONS and isinstance(value, dict):
            found |= {f"{name}.{key}": entry for key, entry in value.items()}
        else:
            found[name] = value
    for key in found:
        if key not in KEYS and key not in TABLES:
            raise WrongUse(f"{path}:{values.line_of(text, key)}: {_unknown(key, found[key])}")
    for name, owner in TABLES.items():
        _require_known(path, text, name, settings_of(owner), found.get(name, []))
    origins = {key: f"{path}:{values.line_of(text, key)}" for key in found}
    for name in TABLES:
        for i, key in _places(found.get(name)):
            place = f"{name}[{i}].{key}" if key else f"{name}[{i}]"
            origins[place] = f"{path}:{values.line_of(text, f'{name}.{key}', table=i)}"
    return found, origins


def _unknown(key: str, value: object) -> str:
    if key in SECTIONS:
        return f"found {value!r}, expected a table: [{key}]"
    return f"unknown setting {key!r}{did_you_mean(key, [*KEYS, *TABLES, *SECTIONS])}"


def _places(tables: object) -> Iterator[tuple[int, str]]:
    """Yield the position of each table, with "" for the table itself, then with each of its keys."""
    for i, table in enumerate(tables if isinstance(tables, list | tuple) else ()):
        yield i, ""
        yield from ((i, key) for key in (table if isinstance(table, Mapping) else ()))


def _require_known(path: Path, text: str, name: str, known: Mapping[str, object], raw: object) -> None:
    for i, table in enumerate(raw if isinstance(raw, list) else []):
        for key in table if isinstance(table, dict) else ():
            if key not in known:
                line = values.line_of(text, f"{name}.{key}", table=i)
                raise WrongUse(f"{path}:{line}: unknown setting {key!r} of [[{name}]]{did_you_mean(key, known)}")


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = {_variable(key): key for key in KEYS}
    for name, value in environment.items():
        if name in known:
            yield known[name], value
        elif name.startswith(tuple(f"{PREFIX}{section.upper()}_" for section in SECTIONS)):
            raise WrongUse(f"environment {name}: unknown setting{did_you_mean(name, known)}")


def _tables(name: str, raw: object, origins: dict[str, str]) -> tuple[Any, ...]:
    came_from = origins[name]
    if not isinstance(raw, list | tuple):
        raise WrongUse(f"{name} ({came_from}): found {raw!r}, expected a list of tables: [[{name}]]")
    for i, key in _places(raw):
        origins.setdefault(f"{name}[{i}].{key}" if key else f"{name}[{i}]", came_from)
    return tuple(_table(TABLES[name], table, f"{name}[{i}]", origins) for i, table in enumerate(raw))


def _table(owner: Any, raw: object, where: str, origins: Mapping[str, str]) -> Any:
    came_from = origins[where]
    if not isinstance(raw, Mapping):
        raise WrongUse(f"{where} ({came_from}): found {raw!r}, expected a table")
    known = settings_of(owner)
    for key in owner.REQUIRED:
        if key not in raw:
            raise WrongUse(f"{where} ({came_from}): {key!r} is missing, {known[key].metadata['about']}")
    for key in raw:
        if key not in known:
            raise WrongUse(f"{where} ({came_from}): unknown setting {key!r}{did_you_mean(key, known)}")
    read = {key: _read(known[key], f"{where}.{key}", value, origins[f"{where}.{key}"]) for key, value in raw.items()}
    if (require_given := getattr(owner, "require_given", None)) is not None:
        try:
            require_given(read)
        except ValueError as exc:
            raise WrongUse(f"{where} ({came_from}): {exc}") from exc
    return owner(**read)


def _read(entry: Field[Any], key: str, raw: object, came_from: str) -> Any:
    try:
        return entry.metadata["read"](raw)
    except ContractError as exc:
        raise WrongUse(f"{key} ({came_from}): {exc}") from exc
    except ValueError as exc:
        raise WrongUse(f"{key} ({came_from}): found {raw!r}, expected {exc}") from exc


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", "_").upper()

"""Settings of the workstation and the hub's commands: read once in `cli`, then passed, never imported as state.

Flag > environment `SPRAT_<NAME>` > file > default. The file is `~/.config/sprat/settings.toml` (or what `SPRAT_SETTINGS`
names). An unknown key is an error that names its line and the nearest known key; so is a value of the wrong type.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from sprat.errors import WrongUse
from sprat_device.contract.errors import did_you_mean

PREFIX: Final = "SPRAT_"
_FILE_VARIABLE: Final = "SPRAT_SETTINGS"


def _home(*parts: str) -> Path:
    return Path.home().joinpath(*parts)


def _cache_home() -> Path:
    # XDG Base Directory Specification: a relative value counts as not set.
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else _home(".cache")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, validated whole; `origins` says where each came from."""

    hub: str = ""
    """Address of the hub's API, such as `http://127.0.0.1:8080`."""
    token: str = field(default="", repr=False)
    """Admin or operator token for the hub's API."""
    keys_dir: Path = field(default_factory=lambda: _home(".config", "sprat", "keys"))
    runtimes_dir: Path = field(default_factory=lambda: _home(".local", "share", "sprat", "runtimes"))
    data_dir: Path = field(default_factory=lambda: _home(".local", "share", "sprat", "data"))
    runs_dir: Path = field(default_factory=lambda: _home(".local", "share", "sprat", "runs"))
    cache_dir: Path = field(default_factory=lambda: _cache_home() / "sprat")
    """Trained models and conversions by content; it may be deleted at any time."""
    cache_mb: float = 2048.0
    """Room for the cache, in MB; what was used longest ago goes first."""
    targets_dir: Path = field(default_factory=lambda: Path("models") / "targets")
    """Where `--target NAME` is looked up after the recipe's own folder and before the built-in targets."""
    conversion_timeout_s: float = 300.0
    """One training or conversion may take this long, then it is a named failed candidate."""
    conversion_memory_mb: float = 4096.0
    """Resident memory that one training or conversion may take, in MB; watched on Linux."""
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)


_SECRET: Final = frozenset({"token"})
_NAMES: Final = tuple(f.name for f in fields(Settings) if f.name != "origins")
_EXTERNAL: Final = frozenset({_FILE_VARIABLE, "SPRAT_KEY_PASSPHRASE", "SPRAT_DEBUG"})
"""Variables of ours that are not settings."""


def read(flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings; `flags` holds what the command line gave (None values count as not given)."""
    environ = os.environ if environ is None else environ
    file = Path(environ.get(_FILE_VARIABLE, str(_home(".config", "sprat", "settings.toml"))))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(_NAMES, "default")
    for origin, layer in (
        (str(file), _from_file(file, required=_FILE_VARIABLE in environ)),
        ("environment", _from_environment(environ)),
        ("flag", {k: v for k, v in (flags or {}).items() if v is not None}),
    ):
        for name, value in layer.items():
            values[name] = _typed(name, value, origin)
            origins[name] = f"{PREFIX}{name.upper()}" if origin == "environment" else origin
    return Settings(**values, origins=origins)


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """Return (name, value, where it came from) for `--show-settings`; secrets are not shown."""
    return [(name, _shown(name, getattr(settings, name)), settings.origins.get(name, "default")) for name in _NAMES]


def unknown_key(key: str, known: tuple[str, ...], where: str) -> str:
    """Return the sentence for an unknown key: where it stands, and the nearest known one."""
    hint = did_you_mean(key, known) or f"; known keys: {', '.join(known) or 'none'}"
    return f"{where}: unknown key {key!r}{hint}"


def line_of(text: str, path: tuple[str, ...]) -> int:
    """Return the line (from 1) on which a TOML document names the key `path`, or 0 where it cannot be told."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = tuple(part.strip().strip("\"'") for part in stripped.strip("[] ").split("]")[0].split("."))
            if table == path:
                return number
        elif "=" in stripped and not stripped.startswith("#"):
            key = tuple(part.strip().strip("\"'") for part in stripped.split("=", 1)[0].split("."))
            if (*table, *key)[: len(path)] == path:
                return number
    return 0


def _from_file(file: Path, *, required: bool) -> dict[str, object]:
    try:
        text = file.read_text("utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        if required:
            raise WrongUse(f"settings file {file} does not exist; unset {_FILE_VARIABLE} or create it") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise WrongUse(f"settings file {file}: {exc}") from exc
    for key in document:
        if key not in _NAMES:
            raise WrongUse(unknown_key(key, _NAMES, f"{file}, line {line_of(text, (key,))}"))
    return document


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    return {name: environ[PREFIX + name.upper()] for name in _NAMES if PREFIX + name.upper() in environ}


def _typed(name: str, value: object, origin: str) -> object:
    kind = _KINDS[name]
    try:
        if kind is Path and isinstance(value, str | Path):
            return Path(value).expanduser()
        if kind is float and isinstance(value, str | int | float) and not isinstance(value, bool):
            number = float(value)
            if 0 < number < float("inf"):
                return number
        if kind is str and isinstance(value, str):
            return value
    except ValueError:
        pass  # falls to the one sentence below
    raise WrongUse(f"setting {name} from {origin}: found {str(value)[:80]!r}, expected {_EXPECTED[kind]}")


def _shown(name: str, value: object) -> str:
    return ("set, not shown" if value else "") if name in _SECRET else str(value)


_KINDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("hub", "token"), str),
    **dict.fromkeys(("keys_dir", "runtimes_dir", "data_dir", "runs_dir", "cache_dir", "targets_dir"), Path),
    **dict.fromkeys(("conversion_timeout_s", "conversion_memory_mb", "cache_mb"), float),
}
_EXPECTED: Final[Mapping[type, str]] = {Path: "a path", float: "a number above zero", str: "a string"}

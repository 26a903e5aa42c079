"""Reading a TOML document table by table: what nobody took is an unknown key, and every sentence names its line."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sprat.errors import ContractError, RecipeError
from sprat.settings import line_of, unknown_key
from sprat_device.contract.ids import ModelName, model_name

_REQUIRED: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class Source:
    """The document that a recipe was read from, for sentences that name a line."""

    text: str
    name: str
    overridden: frozenset[tuple[str, ...]]

    def place(self, path: tuple[str, ...]) -> str:
        """Return the line of a key, or the override that set it."""
        if any(path[: len(given)] == given for given in self.overridden):
            return f"--set {'.'.join(path)}"
        line = line_of(self.text, path)
        return f"{self.name}, line {line}" if line else self.name


class Section:
    """One table being read; what nobody took is an unknown key."""

    def __init__(self, raw: object, path: tuple[str, ...], source: Source) -> None:
        self.source, self.path = source, path
        if not isinstance(raw, dict):
            raise RecipeError(f"{source.place(path)}: {'.'.join(path)} must be a table")
        self.raw: dict[str, Any] = raw
        self._taken: list[str] = []

    def take(self, key: str, kind: type, *, default: Any = _REQUIRED) -> Any:
        """Take a value of one type, an integer for a float too; the default where the key is absent."""
        self._taken.append(key)
        value = self.raw.get(key, default)
        if value is _REQUIRED:
            where = f"[{'.'.join(self.path)}]" if self.path else "the recipe"
            raise RecipeError(f"{self.source.name}: {where} needs {key!r} ({_SHOWN.get(kind, kind.__name__)})")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(key, value, _SHOWN.get(kind, kind.__name__))
        return value

    def seed(self, key: str) -> int:
        """Take a seed as every random generator takes it; 0 where there is none."""
        value: int = self.take(key, int, default=0)
        if not 0 <= value < 2**32:
            raise self.wrong(key, value, "0 to 4294967295")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], *, default: Any = _REQUIRED) -> str:
        """Take one word of a closed set; an empty set allows any."""
        value: str = self.take(key, str, default=default)
        if value not in allowed and allowed:
            raise self.wrong(key, value, f"one of {', '.join(allowed)}")
        return value

    def strings(self, key: str, *, default: tuple[str, ...]) -> tuple[str, ...]:
        """Take a list of different strings."""
        values = self.take(key, list, default=list(default))
        if not all(isinstance(value, str) and value for value in values) or len(set(values)) != len(values):
            raise self.wrong(key, values, "a list of different strings")
        return tuple(values)

    def choices(self, key: str, allowed: tuple[str, ...], *, default: tuple[str, ...]) -> tuple[str, ...]:
        """Take some words of a closed set."""
        values = self.strings(key, default=default)
        for value in values:
            if value not in allowed:
                raise self.wrong(key, value, f"some of {', '.join(allowed)}")
        return values

    def name(self, key: str) -> ModelName:
        """Take a model's name."""
        value = self.take(key, str)
        try:
            return model_name(value)
        except ContractError as exc:
            raise RecipeError(f"{self.source.place((*self.path, key))}: {exc}") from exc

    def section(self, key: str) -> Section:
        """Take a table, empty where it is absent."""
        return Section(self.take(key, dict, default={}), (*self.path, key), self.source)

    def sections(self, key: str) -> list[tuple[str, Section]]:
        """Take a table of tables."""
        outer = self.section(key)
        return [(name, Section(raw, (*outer.path, name), self.source)) for name, raw in outer.raw.items()]

    def finish(self) -> None:
        """Raise RecipeError for a key that nobody took."""
        for key in self.raw:
            if key not in self._taken:
                place = self.source.place((*self.path, key))
                raise RecipeError(unknown_key(key, tuple(self._taken), place))

    def wrong(self, key: str, value: object, expected: str) -> RecipeError:
        """Return the error for a value: where it stands, what was found and what was expected."""
        path = (*self.path, key)
        return RecipeError(f"{self.source.place(path)}: {'.'.join(path)}: found {value!r:.80}, expected {expected}")


_SHOWN: Final[Mapping[type, str]] = {str: "a string", int: "a whole number", float: "a number", list: "a list"}


def require_finite(value: object, path: tuple[str, ...], source: Source) -> None:
    """Raise RecipeError for the first number of a document that is not finite: no rule means anything by it."""
    match value:
        case dict():
            for key, inner in value.items():
                require_finite(inner, (*path, key), source)
        case list():
            for inner in value:
                require_finite(inner, path, source)
        case float() if not math.isfinite(value):
            raise RecipeError(f"{source.place(path)}: {'.'.join(path)}: found {value}, expected a finite number")


def override(document: dict[str, Any], item: str) -> tuple[str, ...]:
    """Lay one `a.b=value` over the document and return its path; the value is TOML, or else a plain string."""
    key, equals, value = item.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise RecipeError(f"--set {item!r}: expected key=value, such as train.seed=2")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    table = document
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {item!r}: {part!r} is a value in the recipe, not a table")
    table[path[-1]] = parsed
    return path

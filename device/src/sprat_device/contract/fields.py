"""Reads one JSON-like mapping field by field: each miss says where, what was found and what was expected."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from sprat_device.contract.errors import ContractError

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
_MISSING: Final[Any] = object()


class Fields:
    """A mapping being read; what nobody asked for stays in `rest()`, so unknown fields survive a read-write."""

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise ContractError(f"{where}: found {type(raw).__name__}, expected a mapping")
        self._raw = raw
        self._where = where
        self._seen: set[str] = set()

    def schema(self, expected: str) -> None:
        """Require `schema` to name the same document and major version as `expected` (`name/major`)."""
        found = self.text("schema")
        if found != expected:
            raise ContractError(
                f"{self._where}: schema {found!r}, this version reads {expected!r}; upgrade the older side"
            )

    def text(self, key: str, *, default: str = _MISSING, max_length: int = 4096) -> str:
        """Return a string of bounded length."""
        value = self._get(key, default)
        if not isinstance(value, str) or len(value) > max_length:
            raise self._wrong(key, value, f"a string of at most {max_length} characters")
        return value

    def integer(self, key: str, *, minimum: int = 0, maximum: int = 2**63 - 1, default: int = _MISSING) -> int:
        """Return an int within bounds."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise self._wrong(key, value, f"an integer from {minimum} to {maximum}")
        return value

    def number(self, key: str, *, default: float = _MISSING) -> float:
        """Return a finite float."""
        value = self._get(key, default)
        try:
            if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
                return float(value)
        except OverflowError:  # a whole number of hundreds of digits
            raise self._wrong(key, value, "a finite number") from None
        raise self._wrong(key, value, "a finite number")

    def absent(self, key: str) -> bool:
        """Tell whether a field is left out or null."""
        self._seen.add(key)
        return self._raw.get(key) is None

    def boolean(self, key: str, *, default: bool = _MISSING) -> bool:
        """Return a bool."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def items(self, key: str, parse: Callable[[object, str], T], *, default: tuple[T, ...] = _MISSING) -> tuple[T, ...]:
        """Return a list whose entries `parse(entry, where)` accepts."""
        value: object = self._get(key, default)
        if value is default and default is not _MISSING:
            return default
        if not isinstance(value, list | tuple):
            raise self._wrong(key, value, "a list")
        place = f"{self._where}.{key}" if self._where else key
        return tuple(parse(entry, f"{place}[{i}]") for i, entry in enumerate(value))

    def mapping(self, key: str, parse: Callable[[object, str], T], *, default: dict[str, T] = _MISSING) -> dict[str, T]:
        """Return a mapping whose values `parse(value, where)` accepts."""
        value: object = self._get(key, default)
        if value is default and default is not _MISSING:
            return default
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise self._wrong(key, value, "a mapping with string keys")
        # A name may hold anything; an error stays one line.
        return {name: parse(entry, f"{self._where}.{key}.{_one_line(name)}") for name, entry in value.items()}

    def choice(self, key: str, kind: type[E], *, default: E = _MISSING) -> E:
        """Return a member of a closed vocabulary."""
        value = self._get(key, default)
        if not isinstance(value, str) or value not in list(kind):
            raise self._wrong(key, value, f"one of {', '.join(kind)}")
        return kind(value)

    def value(self, key: str, parse: Callable[[object], T], *, default: T = _MISSING) -> T:
        """Return what `parse` makes of one value; its ContractError gains the place."""
        found = self._get(key, default)
        if found is default and default is not _MISSING:
            return default
        try:
            return parse(found)
        except (ContractError, ValueError) as exc:
            raise ContractError(f"{self._where}.{key}: {exc}") from exc

    def rest(self) -> dict[str, object]:
        """Return what was not asked for."""
        return {key: value for key, value in self._raw.items() if key not in self._seen}

    def _get(self, key: str, default: object) -> Any:
        self._seen.add(key)
        value = self._raw.get(key, default)
        if value is _MISSING:
            raise ContractError(f"{self._where}: {key!r} is missing")
        return value

    def _wrong(self, key: str, value: object, expected: str) -> ContractError:
        shown = _one_line(repr(value))
        place = f"{self._where}.{key}" if self._where else key
        return ContractError(f"{place}: found {shown}, expected {expected}")


def _one_line(shown: str) -> str:
    return re.sub(r"\s+", " ", shown)[:80]


def text(raw: object, where: str) -> str:
    """Parse one string entry of a list or mapping."""
    return Fields({where: raw}, "").text(where)


def integer(raw: object, where: str) -> int:
    """Parse one integer entry (may be negative) of a list or mapping."""
    return Fields({where: raw}, "").integer(where, minimum=-(2**63))


def number(raw: object, where: str) -> float:
    """Parse one finite number of a list or mapping."""
    return Fields({where: raw}, "").number(where)


def anything(raw: object, _where: str) -> object:
    """Keep one entry as it is."""
    return raw

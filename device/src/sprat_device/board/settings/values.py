"""What a setting accepts: each reader takes a raw value or its text and returns the value, or says what it expects.

`line_of` finds the line of a key in a TOML text, for error messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

_MOST_TOPIC: Final = 65_535
"""Bytes, by the protocol."""


def integer(low: int, high: int = 2**53) -> Callable[[object], int]:
    """Accept an int, or its digits, within bounds."""

    def read(raw: object) -> int:
        value = int(raw) if isinstance(raw, str) and re.fullmatch(r"-?\d+", raw) else raw
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return value

    return read


def number(low: float, high: float) -> Callable[[object], float]:
    """Accept a finite number within bounds."""

    def read(raw: object) -> float:
        try:
            value = float(raw) if isinstance(raw, str | int | float) and not isinstance(raw, bool) else None
        except (ValueError, OverflowError):  # the latter: a whole number of hundreds of digits
            value = None
        if value is None or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return read


def boolean(raw: object) -> bool:
    """Accept true or false (in text also 1 or 0)."""
    value = {"true": True, "1": True, "false": False, "0": False}.get(raw.lower()) if isinstance(raw, str) else raw
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - one family for whatever is wrong with a value
    return value


def choice(*known: str) -> Callable[[object], str]:
    """Accept one of the known words."""

    def read(raw: object) -> str:
        if raw not in known:
            words = ", ".join(word for word in known if word)
            raise ValueError(f"one of {words}{', or nothing' if '' in known else ''}")
        return str(raw)

    return read


def choices(*known: str) -> Callable[[object], tuple[str, ...]]:
    """Accept a list of known words, in text separated by commas."""

    def read(raw: object) -> tuple[str, ...]:
        values = [part.strip() for part in raw.split(",")] if isinstance(raw, str) else raw
        if not isinstance(values, list | tuple) or not values or not all(value in known for value in values):
            raise ValueError(f"a list of {', '.join(known)}")
        return tuple(values)

    return read


def text(raw: object) -> str:
    """Accept a string; none of the system's names, paths and arguments may hold a zero character."""
    if not isinstance(raw, str):
        raise ValueError("a string")  # noqa: TRY004 - one family for whatever is wrong with a value
    if "\0" in raw:
        raise ValueError("a string without a zero character")
    return raw


def texts(raw: object) -> tuple[str, ...]:
    """Accept a list of strings."""
    if not isinstance(raw, list | tuple) or not all(isinstance(part, str) for part in raw):
        raise ValueError('a list of strings, such as ["a", "b"]')
    return tuple(map(text, raw))


def integers(low: int, high: int) -> Callable[[object], tuple[int, ...]]:
    """Accept a list of ints within bounds."""
    one = integer(low, high)

    def read(raw: object) -> tuple[int, ...]:
        if not isinstance(raw, list | tuple):
            raise ValueError("a list of integers")  # noqa: TRY004 - one family for whatever is wrong with a value
        return tuple(one(value) for value in raw)

    return read


def table(raw: object) -> Mapping[str, Any]:
    """Accept a table of any values."""
    if not isinstance(raw, Mapping) or not all(isinstance(key, str) for key in raw):
        raise ValueError("a table, such as { gain = 2 }")
    return dict(raw)


def name(raw: object) -> str:
    """Accept a short name: lower-case letters, digits, `-` and `_`, or nothing."""
    if not isinstance(raw, str) or not re.fullmatch(r"[a-z0-9_-]{0,32}", raw):
        raise ValueError("at most 32 of a-z, 0-9, - and _")
    return raw


def url(*schemes: str) -> Callable[[object], str]:
    """Accept an address with a host, or nothing."""

    def read(raw: object) -> str:
        expected = f"{schemes[0]}://HOST[:PORT]/PATH" + "".join(f", or {scheme}" for scheme in schemes[1:])
        try:
            parts = urlsplit(text(raw))
            known = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:  # a port that is none, brackets that do not close
            known = False
        if raw and (not known or not str(raw).isprintable() or " " in str(raw)):
            raise ValueError(expected)
        return text(raw)

    return read


def topic(raw: object) -> str:
    """Accept a topic that may be published to, or nothing."""
    if not isinstance(raw, str) or any(mark in raw for mark in "+#\0") or len(raw.encode()) > _MOST_TOPIC:
        raise ValueError("a topic without + and #")
    return raw


def topic_filter(raw: object) -> str:
    """Accept what may be subscribed to, or nothing."""
    parts = text(raw).split("/")
    whole = all(part in {"+", "#"} or not set(part) & set("+#\0") for part in parts)
    if not whole or "#" in parts[:-1] or len(str(raw).encode()) > _MOST_TOPIC:
        raise ValueError("a topic in which + stands for a whole level, and # for all of the last ones")
    return str(raw)


def line_of(text: str, key: str, *, table: int = 0) -> int:
    """Find where a key stands; tomllib does not tell, so an inline table counts as the line of its name."""
    section, _, name = key.rpartition(".")
    current, seen, found = "", -1, 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[{1,2}\s*([\w.-]+)\s*\]{1,2}", line):
            current = header[1]
            seen += current == section
            found = number if key == current or (current == section and seen == table) else found
        elif re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*[.=]", line) and current == section:
            if not section or seen == table:
                return number
        elif section and re.match(rf"\s*{re.escape(section)}\s*[.=]", line):
            found = number
    return found

"""What settings are made of: single settings, sections of them, and lists of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import Field, field, fields
from typing import Any


def setting(default: Any, read: Callable[[object], Any], about: str) -> Any:
    """Return a field; `read` takes a raw value or its text and returns the value, or raises ValueError with what it expects."""
    return field(default=default, metadata={"read": read, "about": about})


def section(owner: type) -> Any:
    """Return the field of a section `[name]`: a frozen dataclass of settings."""
    return field(default=owner(), metadata={"section": owner})


def tables(owner: type) -> Any:
    """Return the field of a list `[[name]]`, each table a frozen dataclass of settings."""
    return field(default=(), metadata={"tables": owner})


def settings_of(owner: type) -> dict[str, Field[Any]]:
    """Return the single settings of a dataclass by name."""
    return {entry.name: entry for entry in _marked(owner, "read")}


def sections_of(owner: type) -> dict[str, type]:
    """Return the sections of a dataclass by name."""
    return {entry.name: entry.metadata["section"] for entry in _marked(owner, "section")}


def tables_of(owner: type) -> dict[str, type]:
    """Return the lists of tables of a dataclass by name."""
    return {entry.name: entry.metadata["tables"] for entry in _marked(owner, "tables")}


def _marked(owner: type, mark: str) -> Iterator[Field[Any]]:
    return (entry for entry in fields(owner) if mark in entry.metadata)

"""Tables of one list that differ by their kind: what each kind needs, and which options it takes besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind's own options."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


def options_of(kind: str, kinds: Mapping[str, Kind], every: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options that a kind has."""
    return (*every, *kinds[kind].needs, *kinds[kind].takes)


def require_kind(given: Mapping[str, object], kinds: Mapping[str, Kind], every: tuple[str, ...]) -> None:
    """Raise ValueError for an option that is missing, or that another kind has."""
    wanted = kinds[str(given["kind"])]
    for option in wanted.needs:
        if not given.get(option):
            raise ValueError(f"kind {given['kind']} needs {option!r}")
    for option in given:
        if option not in options_of(str(given["kind"]), kinds, every):
            others = [name for name, other in kinds.items() if option in (*other.needs, *other.takes)]
            raise ValueError(f"kind {given['kind']} has no option {option!r}, which is one of {', '.join(others)}")

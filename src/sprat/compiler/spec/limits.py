"""A recipe's own limits for a target: `[limits.NAME]` lays `latency_us`, `memory_kib` or `bundle_kib` over its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sprat.compiler.spec.sections import Section
from sprat.compiler.spec.target import Target
from sprat.errors import RecipeError
from sprat.settings import unknown_key

if TYPE_CHECKING:
    from sprat.compiler.spec.recipe import Recipe

KEYS: Final[tuple[str, ...]] = ("bundle_kib", "memory_kib", "latency_us")


def apply(targets: Sequence[Target], recipe: Recipe) -> tuple[Target, ...]:
    """Return the targets with the recipe's limits in place of their own; RecipeError for limits of no target of it."""
    known = tuple(dict.fromkeys((*recipe.targets, *(target.name for target in targets))))
    for name, own in recipe.limits.items():
        if name not in known:
            raise RecipeError(unknown_key(name, known, recipe.place(("limits", name, *list(own)[:1]))))
    return tuple(_with(target, dict(recipe.limits.get(target.name, {}))) for target in targets)


def _with(target: Target, own: dict[str, Any]) -> Target:
    return replace(target, **own)


def read(sections: Sequence[tuple[str, Section]]) -> Mapping[str, Mapping[str, int]]:
    """Read the tables; every limit is a whole number above zero."""
    found: dict[str, dict[str, int]] = {}
    for name, section in sections:
        values = {key: section.take(key, int) for key in KEYS if key in section.raw}
        for key, value in values.items():
            if value < 1:
                raise section.wrong(key, value, "a whole number above zero")
        for key in section.raw:
            if key not in KEYS:
                raise RecipeError(unknown_key(key, KEYS, section.source.place((*section.path, key))))
        found[name] = values
    return found

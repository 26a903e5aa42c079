"""`[inputs.NAME] ranges` of a recipe: what single features can be, by which a device checks each reading."""

from __future__ import annotations

import math

from sprat.compiler.spec.sections import Section


def read(section: Section) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest value of each feature that is named; RecipeError for what is no range."""
    found = {name: _range(section, name) for name in section.raw}
    section.finish()
    return found


def _range(section: Section, name: str) -> tuple[float, float]:
    ends = section.take(name, list)
    numbers = len(ends) == 2 and all(type(end) in {int, float} and math.isfinite(end) for end in ends)
    if not numbers or ends[0] >= ends[1]:
        raise section.wrong(name, ends, "two numbers, the least and the greatest value")
    return float(ends[0]), float(ends[1])

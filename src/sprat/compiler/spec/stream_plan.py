"""`[stream]` of a recipe: the model keeps state between readings, and a row of the data is a whole sequence of them."""

from __future__ import annotations

from typing import Final

from sprat.compiler.spec.sections import Section

ANSWERS: Final = ("", "last", "max")


def read(section: Section) -> str:
    """Return how a sequence's answer comes from those of its readings: `last` or `max`; empty where nothing streams."""
    answer = section.choice("answer", ANSWERS, default="last" if section.raw else "")
    section.finish()
    return answer

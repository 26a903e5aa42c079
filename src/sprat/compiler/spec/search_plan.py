"""`[search]` of a recipe: how many trials, and what each of the factory's keyword arguments may be.

```toml
[search]
trials = 20
[search.space]
trees = { low = 10, high = 100 }            # whole numbers, or any number where one end has a point
rate = { low = 1e-4, high = 1e-1, log = true }
family = { choices = ["forest", "boosting"] }
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sprat.compiler.spec.sections import Section

_MOST_TRIALS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from `low` to `high`, both included; with `log` each order of magnitude is as likely."""

    low: float
    high: float
    whole: bool
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    """One of some values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What to try; no trials means that the recipe's own parameters are taken."""

    trials: int = 0
    seed: int = 0
    space: Mapping[str, Span | Choices] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return plain values that name the plan whole."""
        space = {
            name: {"choices": list(one.values)} if isinstance(one, Choices)
            else {"low": one.low, "high": one.high, "whole": one.whole, "log": one.log}
            for name, one in self.space.items()
        }  # fmt: skip
        return {"trials": self.trials, "seed": self.seed, "space": space}


def read(section: Section) -> SearchPlan:
    """Read the section, or raise RecipeError with the line."""
    if not section.raw:
        return SearchPlan()
    plan = SearchPlan(
        trials=section.take("trials", int),
        seed=section.seed("seed"),
        space={name: _dimension(one) for name, one in section.sections("space")},
    )
    section.finish()
    if not 1 <= plan.trials <= _MOST_TRIALS:
        raise section.wrong("trials", plan.trials, f"1 to {_MOST_TRIALS} trials")
    if not plan.space:
        raise section.wrong("space", {}, "at least one keyword argument of the factory's model()")
    return plan


def _dimension(section: Section) -> Span | Choices:
    if "choices" in section.raw:
        values = section.take("choices", list)
        if len(values) < 2 or not all(isinstance(value, str | int | float | bool) for value in values):
            raise section.wrong("choices", values, "at least two words, numbers or true/false")
        section.finish()
        return Choices(tuple(values))
    low, high = section.take("low", float), section.take("high", float)
    whole = all(isinstance(section.raw[key], int) for key in ("low", "high"))
    span = Span(low, high, whole, section.take("log", bool, default=False))
    section.finish()
    if not low < high:
        raise section.wrong("high", section.raw["high"], f"more than low = {section.raw['low']}")
    if span.log and low <= 0:
        raise section.wrong("low", section.raw["low"], "a number above zero, as log = true asks for")
    return span

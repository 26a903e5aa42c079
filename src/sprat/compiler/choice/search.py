"""Recipe and target to candidates; candidates and their measures to one choice.

Hard budgets and gates first. Then more runtimes before fewer, then the recipe's preferences in order, then the simpler
scheme. Latencies and memories within 15 % are a tie, so that noise does not choose. The Pareto front over metric, size,
latency and memory is for people: the choice lies on it, or is tied with one that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sprat.compiler.schemes import SCHEMES
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.spec.target import Target
from sprat.errors import RecipeError
from sprat.settings import unknown_key
from sprat_device.contract.manifest import Format

TIE: Final = 0.15
RUNTIMES: Final = {Format.TFLITE: ("tflite", "litert"), Format.ONNX: ("onnx",)}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of lowering the model, before the gates."""

    scheme: str
    format: Format
    runtimes: tuple[str, ...]
    """The target's runtimes that read this format, in the target's order."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate with what it came to; a code means that it is out, and the sentence why."""

    scheme: str
    size: int = 0
    metric: float = 0.0
    latency_us: float = 0.0
    memory_kib: float = 0.0
    runtimes: tuple[str, ...] = ()
    """Where it passed every gate."""
    code: GateCode | None = None
    sentence: str = ""
    excess: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen scheme (None where nothing fits), the Pareto front, and why each other one lost."""

    chosen: str | None
    front: frozenset[str]
    reasons: dict[str, str]
    closest: str = ""


def candidates(recipe: Recipe, target: Target) -> tuple[Candidate, ...]:
    """Return what to try for one target, the simplest first."""
    for name in recipe.schemes:
        if name not in SCHEMES:
            raise RecipeError(unknown_key(name, tuple(SCHEMES), "schemes"))
        if recipe.train.framework not in SCHEMES[name].frameworks:
            fitting = ", ".join(key for key, facts in SCHEMES.items() if recipe.train.framework in facts.frameworks)
            raise RecipeError(f"schemes: {name!r} does not lower {recipe.train.framework}; choose among {fitting}")
    found = tuple(
        Candidate(name, facts.format, tuple(r for r in target.runtimes if r in RUNTIMES[facts.format]))
        for name, facts in SCHEMES.items()
        if recipe.train.framework in facts.frameworks
        and (name in recipe.schemes if recipe.schemes else facts.tried(recipe.train.framework))
    )
    runnable = tuple(candidate for candidate in found if candidate.runtimes)
    if not runnable:
        raise RecipeError(
            f"target {target.name} has {', '.join(target.runtimes)}, which run no artifact of {recipe.train.framework}"
        )
    return runnable


def choose(measured: Sequence[Measured], *, prefer: Sequence[str], less_is_better: bool) -> Choice:
    """Choose one candidate and tell of each other why it lost."""
    reasons = {one.scheme: f"{one.code}: {one.sentence}" for one in measured if one.code is not None}
    left = [one for one in measured if one.code is None]
    if not left:
        return Choice(None, frozenset(), reasons, closest=_closest(measured))
    order = {name: place for place, name in enumerate(SCHEMES)}
    best = min(left, key=lambda one: order.get(one.scheme, len(order)))
    for rival in sorted(left, key=lambda one: order.get(one.scheme, len(order))):
        if rival is not best and _why_better(rival, best, prefer, less_is_better=less_is_better):
            best = rival
    for loser in left:
        if loser is not best:
            why = _why_better(best, loser, prefer, less_is_better=less_is_better) or "tied, and the simpler one wins"
            reasons[loser.scheme] = f"{GateCode.OUTRANKED}: {best.scheme} {why}"
    return Choice(best.scheme, pareto(left, less_is_better=less_is_better), reasons)


def pareto(measured: Sequence[Measured], *, less_is_better: bool) -> frozenset[str]:
    """Return the schemes that no other one beats in one figure without losing in another."""

    def costs(one: Measured) -> tuple[float, ...]:
        metric = one.metric if less_is_better else -one.metric
        return (metric, float(one.size), one.latency_us, one.memory_kib)

    def dominated(one: Measured) -> bool:
        mine = costs(one)
        return any(
            all(a <= b for a, b in zip(costs(other), mine, strict=True)) and costs(other) != mine
            for other in measured
            if other is not one
        )

    return frozenset(one.scheme for one in measured if not dominated(one))


def _why_better(one: Measured, other: Measured, prefer: Sequence[str], *, less_is_better: bool) -> str:
    """Return in what `one` comes before `other`, or nothing. The words hold no measured figure: they are in the bundle."""
    if len(one.runtimes) != len(other.runtimes):
        return "passes on more runtimes" if len(one.runtimes) > len(other.runtimes) else ""
    for preference in prefer:
        match preference:
            case "size" if one.size != other.size:
                return f"is smaller ({one.size} against {other.size} bytes)" if one.size < other.size else ""
            case "metric" if one.metric != other.metric:
                better = (one.metric < other.metric) == less_is_better
                return f"is better ({one.metric:.4f} against {other.metric:.4f})" if better else ""
            case "latency" if not _tied(one.latency_us, other.latency_us):
                return "is faster" if one.latency_us < other.latency_us else ""
            case "memory" if not _tied(one.memory_kib, other.memory_kib):
                return "takes less memory" if one.memory_kib < other.memory_kib else ""
    return ""


def _tied(a: float, b: float) -> bool:
    return abs(a - b) <= TIE * max(a, b)


def _closest(measured: Sequence[Measured]) -> str:
    """Return the candidate that missed by least: one over its budget before one that is wrong."""
    over = [one for one in measured if one.excess > 0]
    if not over:
        return ""
    nearest = min(over, key=lambda one: one.excess)
    return f"closest: {nearest.scheme}, {nearest.sentence}"

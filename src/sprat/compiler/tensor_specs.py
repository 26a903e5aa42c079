"""The inputs and outputs of an artifact as the manifest declares them: what a device refuses, and what a value means.

Ranges, texts and codes are those of the data, unless the recipe states others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from sprat.compiler.feature_ranges import NONE, Ranges
from sprat.compiler.ingest import Ingested
from sprat.compiler.lowering import Lowering
from sprat.compiler.spec.recipe import InputSpec, Recipe
from sprat.compiler.workers.work import TensorFacts
from sprat_device.contract.manifest import EMBEDDING, Task, TensorSpec

DECISION: Final = "decision"
"""The name of an output whose class scores are no probabilities."""
_MEANINGS: Final[Mapping[Task, str]] = {
    Task.CLASSIFICATION: "probabilities",
    Task.REGRESSION: "values",
    Task.ANOMALY: "score",
}


def input_specs(lowering: Lowering, recipe: Recipe, ingested: Ingested) -> tuple[TensorSpec, ...]:
    """Return the inputs as the manifest declares them."""
    return tuple(_input(facts, recipe, ingested) for facts in lowering.inputs)


def output_specs(lowering: Lowering, recipe: Recipe, *, threshold: float | None = None) -> tuple[TensorSpec, ...]:
    """Return the outputs as the manifest declares them."""
    return tuple(
        replace(_output(facts, recipe, threshold), **_other_meaning(facts, lowering)) for facts in lowering.outputs
    )


def _input(facts: TensorFacts, recipe: Recipe, ingested: Ingested) -> TensorSpec:
    spec = next(spec for spec in recipe.inputs if spec.name == facts.name)
    low, high = ingested.ranges[facts.name]
    lows, highs = _feature_ranges(facts, ingested)
    return TensorSpec(
        name=facts.name, dtype=facts.dtype, shape=facts.shape, scale=facts.scale, zero_point=facts.zero_point,
        unit=spec.unit, minimum=low, maximum=high, features=spec.features,
        missing_allowed=spec.missing == "keep", categories=_categories(spec, ingested), codes=codes_of(spec, ingested),
        minimums=lows, maximums=highs,
    )  # fmt: skip


def _feature_ranges(facts: TensorFacts, ingested: Ingested) -> Ranges:
    """Return the ranges of an input's features, where the artifact keeps them on its last axis."""
    found = ingested.feature_ranges.get(facts.name, NONE)
    numbers = facts.dtype not in {"string", "bool"}
    return found if numbers and len(facts.shape) > 1 and len(found[0]) == facts.shape[-1] else NONE


def _categories(spec: InputSpec, ingested: Ingested) -> tuple[tuple[str, ...], ...]:
    """Return the texts of each column of a text input whose unknown ones are refused: all that the data has."""
    if spec.type != "text" or spec.unknown == "allow":
        return ()
    whole = np.concatenate([part.inputs[spec.name] for part in ingested.parts.values()])
    return tuple(tuple(np.unique(whole[:, i]).tolist()) for i in range(whole.shape[1]))


def codes_of(spec: InputSpec, ingested: Ingested) -> tuple[tuple[float, ...], ...]:
    """Return the numbers that each column of codes has in the data, and nothing of the other columns."""
    if not spec.codes or spec.unknown == "allow":
        return ()
    whole = np.concatenate([part.inputs[spec.name] for part in ingested.parts.values()])
    return tuple(
        tuple(np.unique(column[np.isfinite(column)]).tolist()) if name in spec.codes else ()
        for name, column in zip(spec.features, np.moveaxis(whole, -1, 0), strict=True)
    )


def _other_meaning(facts: TensorFacts, lowering: Lowering) -> dict[str, Any]:
    """Take the meaning from an output that is no part of the answer, and call scores by their name."""
    if lowering.embedding and facts.name == lowering.embedding:
        return {"meaning": EMBEDDING, "threshold": None, "features": ()}
    if lowering.answer and facts.name not in lowering.answer:
        return {"meaning": ""}
    return {"meaning": DECISION} if lowering.decision else {}


def _value_names(facts: TensorFacts, recipe: Recipe) -> tuple[str, ...]:
    """Return what each value of an output is, where a regression predicts several columns."""
    names = (recipe.data.label, *recipe.data.more_labels)
    return names if len(names) > 1 and facts.shape[-1] == len(names) else ()


def _output(facts: TensorFacts, recipe: Recipe, threshold: float | None) -> TensorSpec:
    meaning = _MEANINGS[recipe.task]
    if recipe.task is Task.CLASSIFICATION and facts.name == DECISION:
        meaning = DECISION
    return TensorSpec(
        name=facts.name, dtype=facts.dtype, shape=facts.shape, scale=facts.scale, zero_point=facts.zero_point,
        meaning=meaning, threshold=threshold, features=_value_names(facts, recipe),
    )  # fmt: skip

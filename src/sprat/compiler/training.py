"""The build's training stage: the source model, what it answers, and whether it is worth a candidate.

A model that stops here has its figures all the same, so that a report can say what was found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat.compiler.frontends import outputs
from sprat.compiler.ingest import Ingested
from sprat.compiler.proof import metrics, without_labels, yardstick
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.project import Project
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.workers.jobs import JobFailed, Jobs
from sprat.compiler.workers.work import MAX_DATA, RESEARCH, Work
from sprat.errors import GateFailed, RecipeError
from sprat_device.contract import arrays
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """The source model by what it answered, and what took part in making it."""

    research: Mapping[str, Array]
    sha256: str
    versions: Mapping[str, str]
    metric: float
    """NaN where its answers are not finite."""
    yardstick: float
    searched: Mapping[str, Any] = field(default_factory=dict)
    """What the search of parameters came to; empty where the recipe asks for none."""
    linear: float | None = None
    """What the linear yardstick reaches; None where nothing was learned from labels."""


def train(source: Project, ingested: Ingested, jobs: Jobs, task: Work) -> Trained:
    """Train, or run the given model, and measure it beside the yardsticks; RecipeError where that is not possible."""
    recipe = source.recipe
    try:
        answer = jobs.train(task)
    except JobFailed as exc:
        if task.given:
            raise RecipeError(f"{Path(task.given).name}: cannot be run here: {exc}") from exc
        raise RecipeError(f"training failed: {exc}; the factory is {task.factory}") from exc
    raw = arrays.parse((Path(task.folder) / RESEARCH).read_bytes(), max_bytes=MAX_DATA)
    classes = len(recipe.labels) if recipe.task is Task.CLASSIFICATION else 0
    _require_probability(raw["train"], classes)
    research = {name: outputs.widened(array.reshape(len(array), -1), classes=classes) for name, array in raw.items()}
    for array in research.values():
        if classes and array.shape[1] != classes:
            raise RecipeError(f"labels: {classes} names, the model gives {array.shape[1]} scores")
    found = Trained(research, str(answer["source_sha256"]), answer["versions"], math.nan, math.nan)
    return found if _not_finite(research) else _measured(found, recipe, ingested)


def _require_probability(answers: Array, classes: int) -> None:
    """Raise RecipeError for one number that tells two classes apart and is no probability: a device parts them at 0.5."""
    one = classes == 2 and answers.size == len(answers)
    if one and np.all(np.isfinite(answers)) and not outputs.are_probabilities(answers):
        raise RecipeError(
            f"the model gives one number for two classes, from {answers.min():.3g} to {answers.max():.3g}; "
            "end it in a sigmoid, so that it is the probability of the second"
        )


def refusal(trained: Trained, recipe: Recipe) -> GateFailed | None:
    """Return the gate that stops the model before any candidate, None where it may go on."""
    if parts := _not_finite(trained.research):
        return GateFailed(GateCode.NON_FINITE, f"the trained model's answers to the {parts} rows are not finite")
    name, metric = recipe.metric, trained.metric
    if recipe.data.label and not metrics.beats(name, metric, trained.yardstick):
        return GateFailed(
            GateCode.YARDSTICK, f"{name} {metric:.4f} does not beat {trained.yardstick:.4f} of the trivial model"
        )
    if recipe.gates.min_metric and metrics.beats(name, recipe.gates.min_metric, metric):
        return GateFailed(
            GateCode.MIN_METRIC, f"{name} {metric:.4f}, gates.min_metric asks for {recipe.gates.min_metric:g}"
        )
    return yardstick.refusal(recipe, metric, trained.linear)


def _measured(trained: Trained, recipe: Recipe, ingested: Ingested) -> Trained:
    parts = without_labels.filled(ingested, trained.research, recipe).parts
    metric = metrics.metric_of(recipe.metric, parts["test"].labels, trained.research["test"])
    trivial = metrics.yardstick(
        recipe.metric, parts["train"].labels, parts["test"].labels, classes=len(recipe.labels)
    )  # fmt: skip
    linear = yardstick.beside(recipe, ingested.parts)
    return Trained(trained.research, trained.sha256, trained.versions, metric, trivial, linear=linear)


def _not_finite(research: Mapping[str, Array]) -> str:
    """Return the parts with answers that are NaN or infinite; empty where there are none."""
    return ", ".join(name for name, array in research.items() if not np.all(np.isfinite(array)))

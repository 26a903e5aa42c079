"""The build's search stage: what the recipe's `[search]` asks for, with the best parameters laid over the recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from sprat.compiler.ingest import Ingested
from sprat.compiler.proof import metrics
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.project import Project
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.workers.cache import key_of
from sprat.compiler.workers.jobs import JobFailed, Jobs, facts_of
from sprat.compiler.workers.work import DATA, MAX_DATA, RESEARCH, Work
from sprat.errors import RecipeError
from sprat.settings import Settings
from sprat_device.contract import arrays

FOLDER: Final = "searches"
"""Inside the runs' folder: one journal for each search."""


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search came to, for the facts of the build, and where its trials are kept."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    study: str = ""


def run(
    source: Project, task: Work, ingested: Ingested, *, settings: Settings, keep: bool, say: Callable[[str], None]
) -> tuple[Project, Work, Searched]:
    """Return the project and the work with the best parameters; as they were where the recipe asks for no search."""
    plan, recipe = source.recipe.search, source.recipe
    if not plan.trials:
        return source, task, Searched()
    from sprat.compiler.choice import tuning  # noqa: PLC0415 - Optuna is slow to import and rarely asked for

    _require_judgeable(recipe, ingested)
    # Whatever the number of trials: more of them go on where fewer stopped.
    space = {key: value for key, value in plan.document().items() if key != "trials"}
    study = (
        f"{key_of('search', {**facts_of(task), 'plan': space, 'metric': recipe.metric})[:32]}.journal" if keep else ""
    )
    given = {key: value for key, value in recipe.train.parameters.items() if key not in plan.space}
    # Workers of its own: the model that ships is trained in a process that trained nothing else.
    with Jobs(
        log=task.path.with_name("search.log"), timeout_s=settings.conversion_timeout_s,
        memory_mb=settings.conversion_memory_mb,
    ) as jobs:  # fmt: skip
        found = tuning.search(
            plan, lambda parameters: _value(replace(task, parameters={**given, **parameters}), jobs, ingested, recipe.metric),
            less_is_better=recipe.metric in metrics.ERROR_METRICS, first=recipe.train.parameters,
            place=settings.runs_dir / FOLDER / study if study else None, say=say,
        )  # fmt: skip
    best = {**given, **found.parameters}
    facts = {
        "trials": found.trials, "failed": found.failed, "seed": plan.seed, "best": dict(found.parameters),
        "metric": f"{recipe.metric} on the validation rows", "value": found.value,
    }  # fmt: skip
    chosen = replace(recipe, train=replace(recipe.train, parameters=best))
    return replace(source, recipe=chosen), replace(task, parameters=best), Searched(facts, study)


def _require_judgeable(recipe: Recipe, ingested: Ingested) -> None:
    """Raise RecipeError where no trial could be judged: ranks need validation rows of both kinds."""
    labels = ingested.parts["validation"].labels
    if recipe.metric in metrics.RANK_METRICS and len(np.unique(labels)) < len(recipe.labels):
        raise RecipeError(
            f"search: all {len(labels)} validation rows are {recipe.labels[int(labels[0])]!r}; trials are judged by rows of "
            "both kinds, raise data.split.validation"
        )


def _value(task: Work, jobs: Jobs, ingested: Ingested, metric: str) -> float:
    """Train one trial and return its metric on the validation rows."""
    folder = Path(f"{task.folder}-trial")
    folder.mkdir(exist_ok=True)
    data = folder / DATA
    if not data.exists():
        os.link(task.path / DATA, data)
    jobs.train(replace(task, folder=str(folder)))
    answers = arrays.parse((folder / RESEARCH).read_bytes(), max_bytes=MAX_DATA)["validation"]
    if not np.all(np.isfinite(answers)):
        raise JobFailed(GateCode.NON_FINITE, "its answers to the validation rows are not finite")
    value = metrics.metric_of(metric, ingested.parts["validation"].labels, answers.reshape(len(answers), -1))
    if not np.isfinite(value):  # Optuna would ask for the same trial for ever
        raise JobFailed(GateCode.NON_FINITE, f"its {metric} on the validation rows is not finite")
    return value

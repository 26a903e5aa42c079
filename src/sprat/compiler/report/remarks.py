"""What a build should say beside its result: runtimes that were not tried, what the rows are too few for, whose clock it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from sprat.compiler.choice.ranking import Ranked
from sprat.compiler.choice.search import Candidate
from sprat.compiler.frontends import outputs
from sprat.compiler.ingest import Ingested
from sprat.compiler.proof import parity
from sprat.compiler.proof.trials import Trial, Trials
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.spec.target import Target
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]


def of_build(
    recipe: Recipe, ingested: Ingested, candidates: Mapping[str, tuple[Candidate, ...]], trials: Trials
) -> list[str]:
    """Return what holds for the whole build."""
    declared = sorted({runtime for group in candidates.values() for one in group for runtime in one.runtimes})
    found = [
        f"{runtime} was not tried: it is not on this machine (sprat runtimes add {runtime}); the bundle does not list it"
        for runtime in declared
        if not trials.can_run(runtime)
    ]
    if recipe.golden_inputs == "real":
        found.append('the golden set holds real validation rows; golden.inputs = "synthetic" keeps them out')
    if recipe.task is Task.CLASSIFICATION:
        found += parity.small_classes(ingested.parts["test"].labels, recipe.labels, recipe.gates)
    return found + [f"data: {finding}" for finding in ingested.findings]


def of_scores(recipe: Recipe, scores: Array) -> list[str]:
    """Return a warning where a network's class scores are no probabilities."""
    network = recipe.task is Task.CLASSIFICATION and recipe.train.framework != "sklearn"
    if not network or outputs.are_probabilities(scores):
        return []
    found = f"the model's scores go from {scores.min():.3g} to {scores.max():.3g}"
    return [f"{found}: they name the label, but do not tell how sure it is; end it in a softmax for probabilities"]


def of_choice(target: Target, ranked: Ranked, recipe: Recipe) -> list[str]:
    """Return what holds for the chosen candidate of one target."""
    if ranked.chosen is None:
        return []
    _, passed = ranked.chosen
    found = [f"{one.scheme} on {one.runtime}: {one.verdict.note}" for one in passed if one.verdict.note]
    limit = min((one for one in (float(target.latency_us), recipe.gates.max_latency_us) if one), default=0.0)
    if limit and (elsewhere := _elsewhere(target, passed)):
        found.append(
            f"the latency limit of {target.name} ({limit:g} us) was judged on {elsewhere}, not on "
            f"{' or '.join(target.arch)}; build with --runner ssh:HOST to judge it on the board"
        )
    return found


def _elsewhere(target: Target, passed: Sequence[Trial]) -> str:
    """Return where the deciding figures were taken, if that machine is of another kind than the target."""
    figures = passed[0].figures
    machine = str(figures.get("machine", ""))
    return "" if machine in target.arch else f"{figures.get('where', passed[0].runner)}, {machine or 'unknown machine'}"

"""A build that ends before any candidate: its report says what was found and why it stopped, and it is kept as a run."""

from __future__ import annotations

import math
from pathlib import Path

from sprat.compiler import release_files
from sprat.compiler.ingest import Ingested
from sprat.compiler.proof import without_labels, yardstick
from sprat.compiler.report import page
from sprat.compiler.result import BuildResult, Stopped
from sprat.compiler.spec.project import Project
from sprat.compiler.training import Trained
from sprat.errors import GateFailed


def at(
    refusal: GateFailed, source: Project, ingested: Ingested, trained: Trained, *, work: Path, out: Path, study: str
) -> Stopped:
    """Write the report of a model that a gate refused, and return what to raise."""
    recipe = source.recipe
    warnings = [f"data: {finding}" for finding in ingested.findings]
    facts = release_files.of_run(release_files.facts(source, ingested, trained), recipe, ingested, trained)
    if math.isnan(trained.metric):
        facts |= {"research_metric": None, "yardstick": None}  # JSON has no NaN
    else:
        warnings += yardstick.remarks(recipe.metric, trained.metric, trained.linear)
    found = BuildResult(
        recipe.model, recipe.metric, trained.metric, trained.yardstick, (), (), tuple(warnings), out / release_files.REPORT,
        facts=facts, study=study, stopped=str(refusal),
    )  # fmt: skip
    shown = without_labels.filled(ingested, trained.research, recipe)
    staged = work / release_files.REPORT
    staged.write_text(page.page(found, shown, trained.research, (), recipe), encoding="utf-8")
    staged.replace(out / release_files.REPORT)
    return Stopped(refusal.code, f"{refusal.args[0]}; see {found.report}", result=found)

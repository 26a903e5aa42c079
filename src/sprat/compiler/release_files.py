"""Stages the files of a build and puts them in place when all are whole: bundle, measured.json, test set.

With one target they lie in the output folder itself; with several, in a folder for each target.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sprat import __version__
from sprat.compiler import bundling, embedded, reference
from sprat.compiler.bundling import Contents
from sprat.compiler.choice.ranking import Ranked
from sprat.compiler.embedded import Embedded
from sprat.compiler.golden import RESEARCH, golden_rows, tolerance
from sprat.compiler.ingest import Ingested
from sprat.compiler.lowering import Lowering
from sprat.compiler.proof import budget, ranks
from sprat.compiler.proof.trials import Trial, Trials
from sprat.compiler.result import BuiltBundle
from sprat.compiler.runners import measure
from sprat.compiler.spec.project import Project
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.spec.target import Target
from sprat.compiler.tensor_specs import input_specs, output_specs
from sprat.data.split import PARTS
from sprat.data.table import write_table
from sprat.errors import GateFailed
from sprat_device.contract import statistics
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.manifest import Task, Tolerance

if TYPE_CHECKING:
    from sprat.compiler.training import Trained

MEASURED_SCHEMA: Final = "sprat.measured/1"
REPORT: Final = "report.html"


def facts(project: Project, ingested: Ingested, trained: Trained) -> dict[str, Any]:
    """Return what a build was made from, as the manifest's provenance holds it."""
    recipe = project.recipe
    return {
        "recipe_sha256": project.sha256,
        "files": dict(project.files),
        "overrides": list(project.overrides),
        "source_sha256": trained.sha256,
        "data_sha256": ingested.sha256,
        "splits": {name: dict(ingested.splits[name]) for name in PARTS},
        "features": {name: dict(found) for name, found in ingested.features.items()},
        "seeds": {"train": recipe.train.seed, "split": recipe.data.split.seed},
        "parameters": dict(recipe.train.parameters),
        **({"search": dict(trained.searched)} if trained.searched else {}),
        **({"augment": recipe.train.augment} if recipe.train.augment else {}),
        "versions": {**trained.versions, "sprat": __version__},
        "python": platform.python_version(),
        "metric": recipe.metric,
        "research_metric": trained.metric,
        "yardstick": trained.yardstick,
    }


def of_run(made_from: Mapping[str, Any], recipe: Recipe, ingested: Ingested, trained: Trained) -> dict[str, Any]:
    """Return the facts with what a run keeps beside them: no part of the bundle's bytes."""
    return {
        **made_from, "about": recipe.about, "snapshot": dict(ingested.snapshot), "linear_yardstick": trained.linear,
    }  # fmt: skip


class Staging:
    """Writes into the work folder and remembers where each file belongs."""

    def __init__(
        self, project: Project, ingested: Ingested, trained: Trained, trials: Trials, *, work: Path, out: Path,
        many: bool,
    ) -> None:  # fmt: skip
        self._project, self._ingested, self._trained, self._trials = project, ingested, trained, trials
        self._work, self._out, self._many = work / "staged", out, many
        self._moves: list[tuple[Path, Path]] = []
        self.facts = facts(project, ingested, trained)

    def stage(self, target: Target, ranked: Ranked) -> BuiltBundle:
        """Write the chosen bundle, reproduce its golden set on every runtime, and write what was measured."""
        assert ranked.chosen is not None  # noqa: S101 - the caller has asked
        lowering, passed = ranked.chosen
        recipe = self._project.recipe
        folder = self._work / target.name
        folder.mkdir(parents=True)
        staged = folder / f"{recipe.model}-{target.name}.sprat"
        digest = bundling.write(
            staged, lowering, recipe, self._ingested, target=target.name,
            contents=self._contents(lowering, passed, target, ranked),
        )  # fmt: skip
        for trial in passed:
            self._trials.prove(staged, trial.runtime)
        size = staged.stat().st_size
        if over := budget.breaks(budget.Need(size, 0, 0.0), target):
            raise GateFailed(over[0].code, over[0].sentence)
        measured = self._measured(lowering, passed, target, digest=digest, size=size)
        (folder / "measured.json").write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
        test = self._ingested.parts["test"]
        test_set = folder / f"{recipe.model}-test.npz"
        labels = np.repeat(test.labels, max(1, lowering.steps), axis=0)
        write_table(test_set, {**lowering.readings(test.inputs), "labels": labels})
        home = self._out / target.name if self._many else self._out
        places = {path: home / path.name for path in (staged, folder / "measured.json", test_set)}
        self._moves += places.items()
        return BuiltBundle(places[staged], digest, target.name, lowering.scheme, size, places[test_set], measured)

    def stage_report(self, page: str) -> Path:
        """Write the report; return where it will lie."""
        staged, place = self._work / REPORT, self._out / REPORT
        staged.parent.mkdir(exist_ok=True)
        staged.write_text(page, encoding="utf-8")
        self._moves.append((staged, place))
        return place

    def publish(self) -> None:
        """Move every staged file into place: all are whole, and nothing is written any more."""
        for staged, place in self._moves:
            place.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(place)

    def _contents(self, lowering: Lowering, passed: tuple[Trial, ...], target: Target, ranked: Ranked) -> Contents:
        recipe, trained, ingested = self._project.recipe, self._trained, self._ingested
        golden = GoldenSet(
            lowering.readings(self._trials.golden_inputs),
            {trial.runtime: trial.golden for trial in passed} | self._research_golden(lowering),
        )
        worst = next(row.metric for row in ranked.rows if row.chosen)
        tolerances: dict[str, Tolerance] = {
            trial.runtime: tolerance(lowering, lowering.answers(trial.golden)) for trial in passed
        }
        shown = self._shown(lowering, passed[0]) if lowering.embedding else None
        predicted, threshold = trained.research["train"], None
        if recipe.task is Task.ANOMALY:
            # The artifact's own scores: one with fewer trees, say, scores on another scale than the research model.
            predicted, scores = (
                self._trials.answers_to(part, lowering, passed[0].runtime) for part in ("train", "validation")
            )
            threshold = ranks.threshold(ingested.parts["validation"].labels, scores)
        return Contents(
            threshold=threshold,
            golden=golden,
            baseline=reference.baseline(
                ingested.parts["train"], predicted, recipe, threshold=threshold,
                specs=input_specs(lowering, recipe, ingested), steps=lowering.steps,
                answers=_answer_figures(lowering, recipe, passed[0]), shown=shown,
            ),
            runtimes={trial.runtime: target.runtimes[trial.runtime].minimum for trial in passed},
            versions={trial.runtime: trial.version for trial in passed},
            tolerances=tolerances,
            embedding_tolerances=_embedding_tolerances(lowering, passed) if lowering.embedding else {},
            provenance={
                **self.facts,
                "options": dict(lowering.options),
                "ops": list(lowering.ops),
                "golden_inputs": recipe.golden_inputs,
                "gates": {key: getattr(recipe.gates, key) for key in type(recipe.gates).__dataclass_fields__},
                "candidates": [
                    {"scheme": row.scheme, "size": row.size, "metric": row.metric, "chosen": row.chosen,
                     "reason": _without_figures(row.reason)}
                    for row in ranked.rows
                ],
            },
            metric={recipe.metric: worst, "research": trained.metric},
            card=bundling.card(recipe, lines={
                "Metric": f"{recipe.metric} {worst:.4f} on {len(ingested.parts['test'].labels)} held-out rows "
                f"(research model {trained.metric:.4f}, trivial model {trained.yardstick:.4f})",
                "Scheme": lowering.scheme,
                "Runtimes": ", ".join(f"{trial.runtime} {trial.version}" for trial in passed),
                "Data": f"SHA-256 {ingested.sha256}",
            }),
        )  # fmt: skip

    def _shown(self, lowering: Lowering, trial: Trial) -> Embedded:
        """Return the embeddings that a baseline is made of: where they lie by training rows, how spread by test rows."""
        count = len(self._ingested.parts["train"].labels)
        rows = np.unique(np.linspace(0, count - 1, min(count, embedded.MOST_ROWS)).astype(np.int64))
        return Embedded(self._trials.embeddings_of("train", rows, lowering, trial.runtime), trial.embeddings)

    def _research_golden(self, lowering: Lowering) -> dict[str, dict[str, Any]]:
        """Return the research model's own answers to the golden rows, where these are rows of the validation part."""
        recipe, answers = self._project.recipe, self._trained.research["validation"]
        if recipe.golden_inputs != "real":
            return {}
        golden = answers[golden_rows(len(answers), recipe)]
        # A sequence's one answer stands at each of its readings: every golden array has as many rows.
        return {RESEARCH: {"answers": np.repeat(golden, max(1, lowering.steps), axis=0)}}

    def _measured(
        self, lowering: Lowering, passed: tuple[Trial, ...], target: Target, *, digest: str, size: int
    ) -> dict[str, Any]:
        total = len(self._ingested.parts["test"].labels)
        runtimes = {trial.runtime: _figures(trial, total) for trial in passed}
        return {
            "schema": MEASURED_SCHEMA,
            "model": self._project.recipe.model,
            "target": target.name,
            "bundle": digest,
            "scheme": lowering.scheme,
            "arch": list(target.arch),
            "cpu_features": [],
            "flash_kib": -(-size // 1024),
            "ram_peak_kib": max(int(trial.figures["rss_peak_kib"]) for trial in passed),
            "host": measure.where(),
            "runtimes": runtimes,
            "signed": {"metric": self._project.recipe.metric, "scheme": lowering.scheme, "runtimes": runtimes},
        }


def _figures(trial: Trial, total: int) -> Mapping[str, Any]:
    return {
        "version": trial.version,
        "correct": trial.verdict.correct,
        "total": total,
        "metric": trial.verdict.metric,
        "drop": {"value": trial.verdict.drop.value, "low": trial.verdict.drop.low, "high": trial.verdict.drop.high},
        "lost": trial.verdict.lost,
        "gained": trial.verdict.gained,
        "mcnemar_p": trial.verdict.p_value,
        "agreement": trial.verdict.agreement,
        **{
            key: trial.figures[key] for key in ("load_ms", "latency_us", "rss_peak_kib", "ram_above_floor_kib", "where")
        },
    }


def _without_figures(reason: str) -> str:
    """Keep only the code of a reason that quotes a stopwatch, a path or a log: the bundle's bytes must not depend on them."""
    code = reason.split(":", 1)[0]
    return code if code in _TOLD_WITH_FIGURES else reason


_TOLD_WITH_FIGURES: Final = frozenset(
    {"over-ram", "over-latency", "not-run", "conversion-failed", "conversion-timeout", "conversion-memory"}
)


def _embedding_tolerances(lowering: Lowering, passed: tuple[Trial, ...]) -> dict[str, Tolerance]:
    scale = next(facts.scale for facts in lowering.outputs if facts.name == lowering.embedding)
    return {trial.runtime: tolerance(lowering, lowering.embeddings(trial.golden), scale=scale) for trial in passed}


def _answer_figures(lowering: Lowering, recipe: Recipe, trial: Trial) -> dict[str, Any]:
    """Return the figures of the artifact's answers to the test rows; a stream's answer to a reading is none to a row."""
    if lowering.steps:
        return {}
    meaning = statistics.meaning_of(output_specs(lowering, recipe))
    return statistics.of_answers(meaning, trial.answers)

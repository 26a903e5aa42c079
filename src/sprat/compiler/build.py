"""The one verb: a recipe and its data to the best bundle for each target.

Everything is made in a temporary folder and moved into place when it is whole. Stages: ingest, train against the
yardstick, lower, gates and measures on every runtime, choose, bundle, check the bundle itself, report.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sprat.compiler import columns, release_files, training
from sprat.compiler import stopped as stopped_
from sprat.compiler.choice import search, searching
from sprat.compiler.choice.ranking import rank
from sprat.compiler.choice.search import Candidate
from sprat.compiler.lowering import Lowering, shaped
from sprat.compiler.proof import trials as trials_
from sprat.compiler.proof import without_labels, yardstick
from sprat.compiler.proof.trials import Places, Trials
from sprat.compiler.report import page as report
from sprat.compiler.report import remarks
from sprat.compiler.result import BuildResult, BuiltBundle, CandidateRow, NothingFits
from sprat.compiler.runners import measure
from sprat.compiler.runners.measure import Runner
from sprat.compiler.schemes import SCHEMES
from sprat.compiler.spec import factory, limits, project
from sprat.compiler.spec.project import Project
from sprat.compiler.spec.target import Target
from sprat.compiler.workers.cache import Cache
from sprat.compiler.workers.executors import Place
from sprat.compiler.workers.jobs import JobFailed, Jobs
from sprat.compiler.workers.work import TensorFacts, Work, write_parts
from sprat.data.snapshot import Snapshot
from sprat.data.table import Table
from sprat.errors import GateFailed, MachineLacks, RecipeError
from sprat.settings import Settings, read, unknown_key

_PARTIAL: Final = ".sprat-build-"


def build(
    recipe: Path | str,
    *,
    targets: Sequence[str] = (),
    data: Table | Snapshot | None = None,
    since: str = "",
    out: Path | str = "out",
    overrides: Sequence[str] = (),
    runner: str = "",
    jobs: int | str = 1,
    cache: bool = True,
    settings: Settings | None = None,
    say: Callable[[str], None] = lambda _step: None,
) -> BuildResult:
    """Build a recipe for each target into `out`; GateFailed says what did not pass, after the report is written.

    `jobs` is a number of workers or `dask://host:port`; the bundles are the same whatever it is. With `cache` what an
    earlier build trained or converted from the same content is taken from `settings.cache_dir`. `since` names a bundle
    (or `last`, the newest build here) whose features the data must still have.
    """
    settings = settings or read()
    place = Place.parse(str(jobs))
    source = project.read(Path(recipe), overrides=tuple(overrides))
    _require_parameters(source)
    wanted = project.find_targets(targets or source.recipe.targets, source, settings.targets_dir)
    if not wanted:
        raise RecipeError(
            f"{source.recipe.place(('targets',))}: targets: found none, expected at least one, such as pi-4"
        )
    wanted = limits.apply(wanted, source.recipe)
    candidates = {target.name: search.candidates(source.recipe, target) for target in wanted}
    runners = measure.runners(settings.runtimes_dir, runner)
    kept = Cache(settings.cache_dir, max_bytes=int(settings.cache_mb * 1e6)) if cache else None
    folder = Path(out)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=folder) as work:
            return _build(
                source, wanted, candidates, data=data, since=since, work=Path(work), out=folder, runners=runners, place=place,
                cache=kept, settings=settings, say=say,
            )  # fmt: skip
    finally:
        if new and not any(folder.iterdir()):
            folder.rmdir()  # nothing half-made stays behind


def _build(
    source: Project, targets: Sequence[Target], candidates: Mapping[str, tuple[Candidate, ...]], *,
    data: Table | Snapshot | None, since: str, work: Path, out: Path, runners: Sequence[Runner], place: Place, cache: Cache | None,
    settings: Settings, say: Callable[[str], None],
) -> BuildResult:  # fmt: skip
    recipe, begun = source.recipe, time.monotonic()
    with ThreadPoolExecutor(1, thread_name_prefix="sprat-runners") as asking, Jobs(
        log=work / "worker.log", timeout_s=settings.conversion_timeout_s, memory_mb=settings.conversion_memory_mb,
        place=place, cache=cache,
    ) as jobs:  # fmt: skip
        places = asking.submit(trials_.places, runners)  # while the data are read: each runner is a process or a host
        say("data")
        ingested = columns.gather(source, data, jobs, work=work, settings=settings, since=since)
        task = _work(source, work / "job")
        task.path.mkdir()
        write_parts(task.path, ingested.parts)
        _require_runtime(candidates, places.result())
        source, task, searched = searching.run(
            source, task, ingested, settings=settings, keep=cache is not None, say=say
        )
        recipe = source.recipe
        say("the given model's answers" if task.given else f"training on {len(ingested.parts['train'].labels)} rows")
        trained = replace(training.train(source, ingested, jobs, task), searched=searched.facts)
        say(yardstick.told(recipe.metric, trained.metric, trained.yardstick, trained.linear))
        if refusal := training.refusal(trained, recipe):
            raise stopped_.at(refusal, source, ingested, trained, work=work, out=out, study=searched.study)
        wanted = [c for group in candidates.values() for c in group]
        ingested = without_labels.filled(ingested, trained.research, recipe)
        lowered = {
            scheme: shaped(one, recipe, ingested, scores=trained.research["train"])
            if isinstance(one, Lowering)
            else one
            for scheme, one in _lower(jobs, task, wanted, trained.sha256, work=work, say=say).items()
        }
    trials = Trials(recipe, ingested, trained.research, folder=work, places=places.result(), say=say)
    trials.run_all(_pairs(candidates, lowered, trials), width=jobs.width)
    rows: list[CandidateRow] = []
    made: list[BuiltBundle] = []
    stopped: list[GateFailed] = []
    warnings = [*remarks.of_build(recipe, ingested, candidates, trials), *(cache.notes if cache else ())]
    warnings += yardstick.remarks(recipe.metric, trained.metric, trained.linear)
    warnings += remarks.of_scores(recipe, trained.research["train"])
    staging = release_files.Staging(source, ingested, trained, trials, work=work, out=out, many=len(targets) > 1)
    for target in targets:
        ranked = rank(
            candidates[target.name], lowered, trials, target, recipe, provenance_bytes=len(json.dumps(staging.facts))
        )
        rows += ranked.rows
        warnings += remarks.of_choice(target, ranked, recipe)
        if ranked.chosen is None:
            stopped.append(ranked.refusal(target))
            continue
        say(f"bundle for {target.name}: {ranked.choice.chosen}")
        made.append(staging.stage(target, ranked))
    result = BuildResult(
        recipe.model, recipe.metric, trained.metric, trained.yardstick, tuple(made), tuple(rows), tuple(warnings),
        facts=release_files.of_run(staging.facts, recipe, ingested, trained),
        study=searched.study,
    )  # fmt: skip
    say("report")
    written = staging.stage_report(
        report.page(result, ingested, trained.research, trials.every(), recipe, lowered=lowered)
    )
    staging.publish()
    seconds = {**jobs.seconds, "trials": trials.seconds, "total": time.monotonic() - begun}
    result = replace(result, report=written, seconds={key: round(value, 3) for key, value in seconds.items()})
    if stopped:
        raise NothingFits(stopped[0].code, f"{stopped[0].args[0]}; see {result.report}", result=result)
    return result


def _require_parameters(source: Project) -> None:
    """Compare the free keys of `[train]` with what the factory's function takes, before anything costs time."""
    plan = source.recipe.train
    known = factory.parameters(source.file(plan.factory)) if plan.factory and not plan.given else ()
    for key in plan.parameters:
        if key not in known:
            place = source.recipe.place(("train", key))
            raise RecipeError(unknown_key(key, ("framework", "factory", "given", "seed", "augment", *known), place))
    for key in source.recipe.search.space:
        if key not in known:
            raise RecipeError(unknown_key(key, known, source.recipe.place(("search", "space", key))))


def _work(source: Project, work: Path) -> Work:
    plan = source.recipe.train
    return Work(
        folder=str(work),
        framework=plan.framework,
        task=source.recipe.task,
        model=source.recipe.model,
        factory=str(source.file(plan.factory)) if plan.factory else "",
        given=str(source.file(plan.given)) if plan.given else "",
        seed=plan.seed,
        augment=plan.augment,
        parameters=dict(plan.parameters),
        input_names=tuple(spec.name for spec in source.recipe.inputs),
        answer=source.recipe.answer,
        embedding=source.recipe.embedding,
        stream=source.recipe.stream,
        missing=tuple(spec.name for spec in source.recipe.inputs if spec.missing == "keep"),
    )


def _lower(
    jobs: Jobs, task: Work, candidates: Sequence[Candidate], source: str, *, work: Path, say: Callable[[str], None]
) -> dict[str, Lowering | JobFailed]:
    """Convert each scheme once; a failed conversion is a candidate with a reason."""
    wanted = {one.scheme: work / f"{one.scheme}.{one.format}" for one in candidates}
    answers = jobs.lower(task, wanted, source=source, say=say)
    return {
        scheme: answer if isinstance(answer, JobFailed) else _lowering(scheme, wanted[scheme], answer)
        for scheme, answer in answers.items()
    }


def _lowering(scheme: str, path: Path, answer: Mapping[str, Any]) -> Lowering:
    return Lowering(
        scheme=scheme,
        format=SCHEMES[scheme].format,
        path=path,
        size=int(answer["size"]),
        sha256=str(answer["sha256"]),
        inputs=tuple(_facts(raw) for raw in answer["inputs"]),
        outputs=tuple(_facts(raw) for raw in answer["outputs"]),
        options=answer["options"],
        ops=tuple(answer["ops"]),
        quantized=int(answer.get("quantized", -1)),
    )


def _facts(raw: Mapping[str, Any]) -> TensorFacts:
    return TensorFacts(raw["name"], raw["dtype"], tuple(raw["shape"]), raw["scale"], raw["zero_point"])


def _require_runtime(candidates: Mapping[str, tuple[Candidate, ...]], places: Places) -> None:
    for target, group in candidates.items():
        declared = sorted({runtime for candidate in group for runtime in candidate.runtimes})
        if not any(runtime in places for runtime in declared):
            raise MachineLacks(
                f"target {target} runs {', '.join(declared)}, none is on this machine; "
                f"add one with `sprat runtimes add {declared[0]}`"
            )


def _pairs(
    candidates: Mapping[str, tuple[Candidate, ...]], lowered: Mapping[str, Lowering | JobFailed], trials: Trials
) -> list[tuple[Lowering, str]]:
    """Return every artifact with each runtime that some target has for it and that is here."""
    return [
        (found, runtime)
        for group in candidates.values()
        for one in group
        for runtime in one.runtimes
        if isinstance(found := lowered[one.scheme], Lowering) and trials.can_run(runtime)
    ]

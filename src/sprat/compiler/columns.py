"""Where a build's columns come from, and the one way from there to parts that passed the gates on data.

A table in hand or a snapshot goes first, then the file that `data.file` names, then the factory's `data()`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sprat.compiler.ingest import Ingested, ingest
from sprat.compiler.proof import data_gates
from sprat.compiler.spec.project import Project
from sprat.compiler.workers.jobs import Jobs
from sprat.data import snapshot
from sprat.data.snapshot import Snapshot
from sprat.data.table import Table, read_table
from sprat.errors import RecipeError
from sprat.settings import Settings


def gather(
    source: Project, given: Table | Snapshot | None, jobs: Jobs, *, work: Path, settings: Settings, since: str = ""
) -> Ingested:
    """Read, gate and split the data; RecipeError or GateFailed says what is wrong with it."""
    kept = given if isinstance(given, Snapshot) else None
    table = read_columns(source, given, jobs, work=work, settings=settings)
    now = datetime.datetime.now(datetime.UTC)
    data_gates.require_fresh(source.recipe, table, snapshot=kept, now=now)
    found = ingest(table, source.recipe)
    if since := since or source.recipe.data.since:
        wanted = data_gates.reference(since, source, settings.runs_dir)
        data_gates.require_same(found.features, wanted, since=since)
    return replace(found, snapshot={"name": kept.name, "sha256": kept.sha256} if kept else {})


def read_columns(
    source: Project, given: Table | Snapshot | None, jobs: Jobs, *, work: Path, settings: Settings
) -> Table:
    """Return the columns; the factory's `data()` runs in the worker process, into a file in `work`."""
    name, made_by = source.recipe.data.file, source.recipe.train.factory
    if isinstance(given, Snapshot):
        return snapshot.load(settings.data_dir, given)
    if isinstance(given, Mapping):
        return given
    if name:
        return read_table(_beside(source, name))
    if not made_by:
        raise RecipeError("data.file: a given model needs rows to be gated with; name a .csv or .npz beside the recipe")
    out = work / "columns.npz"
    jobs.columns(source.file(made_by), out)
    return read_table(out)


def _beside(source: Project, name: str) -> Path:
    """Return what `data.file` names: a file, a folder of images, or `module.py:function`."""
    if ".py:" in name:
        file, _, function = name.rpartition(":")
        path = source.file(file)
        return path.with_name(f"{path.name}:{function}")
    folder = source.folder / name
    return folder if folder.is_dir() else source.file(name)

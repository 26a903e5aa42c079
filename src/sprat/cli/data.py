"""`sprat data`: content-addressed snapshots of data sets, and looks at data before anything is built from it."""

from __future__ import annotations

import datetime
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sprat import settings as settings_
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun
from sprat.errors import GateFailed, WrongUse

if TYPE_CHECKING:
    from sprat.compiler.spec.project import Project
    from sprat.data.table import Table

app = noun("Content-addressed snapshots of data sets.\n\nExample: sprat data add readings.csv")


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(help="A .csv, .npz or .parquet, a folder of images by class, or module.py:function.")
    ],
    name: Annotated[str, typer.Option(help="Name of the snapshot; default: the file's.")] = "",
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Keep a data set under the hash of its content.

    Example: sprat data add readings.csv --name office-2026-05
    """
    from sprat.data import snapshot
    from sprat.data.table import read_table

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    made = snapshot.add(
        settings_.read().data_dir, read_table(file), name=name or file.stem, source=str(file.resolve()), added_at=now
    )
    Output(json, quiet).result(asdict(made), f"{made.sha256[:12]}  {made.name}  {made.rows} rows")


@app.command("list")
def list_(json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """List the snapshots, the newest first.

    Example: sprat data list
    """
    from sprat.data import snapshot

    output = Output(json, quiet)
    found = snapshot.every(settings_.read().data_dir)
    output.table(("hash", "name", "rows", "added"), [(s.sha256[:12], s.name, s.rows, s.added_at) for s in found])
    if json:
        output.emit_json({"snapshots": [asdict(one) for one in found]})


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name or beginning of the hash.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show the columns of one snapshot.

    Example: sprat data show office-2026-05
    """
    from sprat.data import snapshot

    output = Output(json, quiet)
    found = snapshot.find(settings_.read().data_dir, name)
    output.say(f"{found.name}  {found.rows} rows from {found.source}, added {found.added_at}\nsha256 {found.sha256}")
    output.table(("column", "holds"), sorted(found.columns.items()))
    if json:
        output.emit_json(asdict(found))


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A recipe, a data file or folder, or a snapshot's name or hash.")],
    data: Annotated[str, typer.Option(help="Snapshot to check a recipe with (name or hash).")] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for findings too, not for errors only.")
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Look for what is missing, outlying, constant, doubled, leaking, mislabelled or out of balance.

    Labels and the parts of the split are looked at where a recipe names them. The exit code is 1 where no model can be
    made of the data.

    Example: sprat data check my-model --strict
    """
    from sprat.compiler.ingest import ingest
    from sprat.data import quality

    output = Output(json, quiet)
    if _is_recipe(Path(name)):
        source, table = _recipe(Path(name), data)
        findings = list(ingest(table, source.recipe, stop=False).observations)
    else:
        findings = quality.examine(_table(name))
    output.table(("severity", "column", "code", "what"), [(f.severity, f.column, f.code, f.sentence) for f in findings])
    if json:
        output.emit_json({"findings": [asdict(one) for one in findings]})
    errors = [one for one in findings if one.severity is quality.Severity.ERROR]
    if errors or (strict and findings):
        first = (errors or findings)[0]
        raise GateFailed(first.code, f"{name}: {first.sentence}; {len(errors)} errors, {len(findings)} findings in all")
    output.say(f"{name}: {len(findings) or 'no'} findings, none that stops a build")


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A snapshot's name or hash, or a data file or folder.")],
    after: Annotated[str, typer.Argument(help="The same; what changed from the first to this one is told.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show what changed between two data sets: columns, types, ranges, how far values moved (PSI), rows in common.

    Example: sprat data diff office-2026-05 office-2026-06
    """
    from sprat.data import diff as diffs

    output = Output(json, quiet)
    found = diffs.compare(_table(before), _table(after))
    if json:
        output.emit_json(asdict(found))
        return
    for said, names in (("added", found.added), ("removed", found.removed), ("of another type", found.retyped)):
        if names:
            output.say(f"{said}: {', '.join(names)}")
    output.table(
        ("column", "holds", "holds now", "range", "range now", "PSI"),
        [(one.name, *one.holds, *one.ranges, "-" if one.psi is None else f"{one.psi:.3f}") for one in found.columns],
    )
    output.say(f"{found.rows[0]} rows, now {found.rows[1]}; {found.common_rows} in common")


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="A snapshot's name or hash, or a data file or folder.")],
    file: Annotated[Path, typer.Argument(help="Where to write: .csv, .npz or .parquet.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write a data set as a file that other programs read.

    Example: sprat data export office-2026-05 office.parquet
    """
    from sprat.data import export as exports

    try:
        exports.write(file, _table(name))
    except OSError as exc:
        raise WrongUse(f"{file}: cannot be written ({exc.strerror or exc})") from exc
    size = file.stat().st_size
    Output(json, quiet).result({"file": str(file), "bytes": size}, f"{file}  {size} bytes")


@app.command()
def split(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml, or the folder that holds one.")],
    data: Annotated[str, typer.Option(help="Snapshot to use instead of the recipe's data (name or hash).")] = "",
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show how a recipe splits its data: rows and hash of each part, and what proves that the parts are disjoint.

    Example: sprat data split my-model --data office-2026-05
    """
    from sprat.compiler.ingest import ingest

    output = Output(json, quiet)
    source, table = _recipe(recipe, data)
    done = ingest(table, source.recipe)
    parts = {name: dict(part) for name, part in done.splits.items()}
    more = [key for key in next(iter(parts.values())) if key not in {"rows", "sha256", "groups_sha256"}]
    output.table(
        ("part", "rows", "sha256", *more),
        [(n, part["rows"], part["sha256"], *(part[key] for key in more)) for n, part in parts.items()],
    )
    if json:
        output.emit_json({"parts": parts, "findings": list(done.findings)})


def _is_recipe(path: Path) -> bool:
    return path.suffix == ".toml" or (path / "recipe.toml").is_file()


def _table(name: str) -> Table:
    """Return the columns of a file, a folder, a callable or a snapshot."""
    from sprat.data import snapshot
    from sprat.data.table import read_table

    if Path(name).exists() or ".py:" in name:
        return read_table(Path(name))
    folder = settings_.read().data_dir
    return snapshot.load(folder, snapshot.find(folder, name))


def _recipe(path: Path, data: str) -> tuple[Project, Table]:
    """Return a recipe with its columns; a factory's `data()` runs in a process of its own, as in a build."""
    from sprat.compiler import columns
    from sprat.compiler.spec import project
    from sprat.compiler.workers.jobs import Jobs
    from sprat.data import snapshot

    settings = settings_.read()
    source = project.read(path)
    given = snapshot.find(settings.data_dir, data) if data else None
    with (
        tempfile.TemporaryDirectory(prefix="sprat-data-") as work,
        Jobs(log=Path(work) / "worker.log", timeout_s=settings.conversion_timeout_s) as jobs,
    ):
        return source, columns.read_columns(source, given, jobs, work=Path(work), settings=settings)

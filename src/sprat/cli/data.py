"""`sprat data`: content-addressed snapshots of data sets."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sprat import settings as settings_
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun
from sprat.errors import GateFailed

app = noun("Content-addressed snapshots of data sets.\n\nExample: sprat data add readings.csv")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A .csv or .npz file.")],
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
    name: Annotated[str, typer.Argument(help="A snapshot's name or hash, or a .csv or .npz file.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Look for missing values, constant and doubled columns.

    The exit code is 1 where something was found.

    Example: sprat data check readings.csv
    """
    from sprat.data import quality, snapshot
    from sprat.data.table import read_table

    output = Output(json, quiet)
    folder = settings_.read().data_dir
    file = Path(name)
    table = read_table(file) if file.is_file() else snapshot.load(folder, snapshot.find(folder, name))
    findings = quality.examine(table)
    output.result({"findings": [asdict(one) for one in findings]}, *(one.sentence for one in findings))
    if findings:
        raise GateFailed(
            findings[0].code, f"{len(findings)} findings in {name}; mend the data or leave these columns out"
        )
    output.say(f"{name}: no findings in {len(table)} columns")


@app.command()
def split(
    recipe: Annotated[Path, typer.Argument(help="A recipe whose data comes from a file beside it.")],
    data: Annotated[str, typer.Option(help="Snapshot to use instead (name or hash).")] = "",
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show how a recipe splits its data: rows and hash of each part.

    Example: sprat data split my-model --data office-2026-05
    """
    from sprat.compiler import project
    from sprat.compiler.ingest import ingest
    from sprat.data import snapshot
    from sprat.data.table import read_table
    from sprat.errors import WrongUse

    output = Output(json, quiet)
    source = project.read(recipe)
    folder = settings_.read().data_dir
    if data:
        table = snapshot.load(folder, snapshot.find(folder, data))
    elif source.recipe.data.file:
        table = read_table(source.file(source.recipe.data.file))
    else:
        raise WrongUse(f"{recipe}: its data comes from a factory; give a snapshot with --data")
    done = ingest(table, source.recipe)
    parts = {n: {"rows": len(part.labels), "sha256": done.part_digests[n]} for n, part in done.parts.items()}
    output.table(("part", "rows", "sha256"), [(n, part["rows"], part["sha256"]) for n, part in parts.items()])
    if json:
        output.emit_json({"parts": parts, "findings": list(done.findings)})

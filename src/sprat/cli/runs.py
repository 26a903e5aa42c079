"""`sprat runs`: every build that was made here."""

from __future__ import annotations

import datetime
import json as json_
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sprat import settings as settings_
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun
from sprat.errors import WrongUse

app = noun("Every build that was made here.\n\nExample: sprat runs list")


def record(folder: Path, document: dict[str, Any]) -> str:
    """Keep a build's document under a number of its own and return it."""
    now = datetime.datetime.now(datetime.UTC)
    folder.mkdir(parents=True, exist_ok=True)
    run = f"{now:%Y%m%dT%H%M%S}-{document['model']}-{os.getpid()}"
    partial = folder / f"{run}.part"
    partial.write_text(json_.dumps({"run": run, "at": now.isoformat(timespec="seconds"), **document}, default=str))
    partial.replace(folder / f"{run}.json")
    return run


@app.command("list")
def list_(json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """List builds, the newest first.

    Example: sprat runs list --json
    """
    output = Output(json, quiet)
    found = [_read(path) for path in sorted(settings_.read().runs_dir.glob("*.json"), reverse=True)]
    rows = [_row(run) for run in found]
    output.table(("run", "model", "targets", "chosen", "metric"), rows)
    if json:
        output.emit_json({"runs": found})


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="The run's name, or the beginning of it.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show the candidates of one build and why each lost.

    Example: sprat runs show 20260102T101500-digits
    """
    output = Output(json, quiet)
    folder = settings_.read().runs_dir
    paths = sorted(folder.glob("*.json"))
    found = [path for path in paths if path.stem.startswith(run)]
    if len(found) != 1:
        raise WrongUse(f"run {run!r}: {len(found)} runs in {folder} begin so, expected one; see `sprat runs list`")
    document = _read(found[0])
    output.table(
        ("target", "scheme", "bytes", document["metric_name"], "p50 us", "why"),
        [
            (row["target"], row["scheme"], row["size"], f"{row['metric']:.4f}", f"{row['latency_us']:.1f}",
             row["reason"] or "chosen")
            for row in document["candidates"]
        ],
    )  # fmt: skip
    if json:
        output.emit_json(document)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json_.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise WrongUse(f"run {path}: cannot be read ({exc}); remove the file") from exc
    return found


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    bundles = run["bundles"]
    return (
        run["run"], run["model"], ",".join(one["target"] for one in bundles),
        ",".join(one["scheme"] for one in bundles), f"{run['metric_name']} {run['research_metric']:.4f}",
    )  # fmt: skip

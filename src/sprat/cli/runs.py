"""`sprat runs`: every build that was made here."""

from __future__ import annotations

import datetime
import json as json_
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sprat import settings as settings_
from sprat.cli.output import JsonFlag, Output, QuietFlag, noun
from sprat.errors import WrongUse

_WIDEST: Final = 40
"""Characters of one value in a table; `--json` has the whole."""

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
    from sprat.compiler.report import explain as explain_

    output = Output(json, quiet)
    document = _find(run)
    rows = [
        (row["target"], row["scheme"], row["size"], f"{row['metric']:.4f}", f"{row['latency_us']:.1f}",
         row["reason"] or "chosen")
        for row in document["candidates"]
    ]  # fmt: skip
    if document.get("stopped"):
        output.say(explain_.stopped(document["stopped"]))
    else:
        output.table(("target", "scheme", "bytes", document["metric_name"], "p50 us", "why"), rows)
    if json:
        output.emit_json(document)


@app.command()
def explain(
    run: Annotated[str, typer.Argument(help="The run's name, or the beginning of it.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Say in sentences why each candidate of a build lost.

    Example: sprat runs explain 20260102T101500-digits
    """
    from sprat.compiler.report import explain as explain_

    document = _find(run)
    sentences = explain_.sentences(document)
    Output(json, quiet).result({"run": document["run"], "sentences": sentences}, *sentences)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more runs: their names, or the beginnings of them.")],
    plot: Annotated[Path | None, typer.Option(help="Also draw the metrics into this .svg or .html file.")] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show what differs between builds in data, settings, code and versions, and which metric each gave.

    Example: sprat runs compare 20260102T101500 20260103T091000 --plot compared.svg
    """
    from dataclasses import asdict

    from sprat.compiler.report import compare as compare_
    from sprat.compiler.report.explain import figure

    if len(runs) < 2:
        raise WrongUse(f"runs compare: found {len(runs)} run, expected two or more; see `sprat runs list`")
    if plot is not None and plot.suffix not in {".svg", ".html"}:
        raise WrongUse(f"--plot {plot}: found {plot.suffix or 'no suffix'!r}, expected .svg or .html")
    documents = [_find(run) for run in runs]
    outcomes, differences = compare_.outcomes(documents), compare_.differences(documents)
    output = Output(json, quiet)
    output.table(
        ("run", "target", "scheme", "metric", "chosen", "research", "yardstick", "bytes", "p50 us"),
        [
            (one.run, one.target or "-", one.scheme or "nothing passed", one.metric_name,
             *map(figure, (one.metric, one.research, one.yardstick)), one.size, f"{one.latency_us:.1f}")
            for one in outcomes
        ],
    )  # fmt: skip
    output.say("")
    if differences:
        rows = [(one.area, one.what, *(value[:_WIDEST] for value in one.values)) for one in differences]
        output.table(("area", "what differs", *(document["run"] for document in documents)), rows)
    else:
        output.say("data, settings, code and versions are the same")
    if plot is not None:
        from sprat.cli.plots import write_plot

        write_plot(plot, compare_.picture(documents), title="Runs compared", outcomes=outcomes, differences=differences)
        output.say(f"{plot}")
    if json:
        output.emit_json(
            {"runs": [document["run"] for document in documents], "outcomes": [asdict(one) for one in outcomes],
             "differences": [asdict(one) for one in differences]}
        )  # fmt: skip


@app.command()
def trials(
    run: Annotated[str, typer.Argument(help="The run's name, or the beginning of it.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show what the search of a build tried, and what each trial came to on the validation rows.

    Example: sprat runs trials 20260102T101500-occupancy
    """
    from dataclasses import asdict

    from sprat.compiler.choice import tuning
    from sprat.compiler.choice.searching import FOLDER

    document = _find(run)
    place = settings_.read().runs_dir / FOLDER / str(document.get("study") or "none")
    if not place.is_file():
        raise WrongUse(
            f"run {document['run']} kept no trials: its recipe has no [search], or it was built with --no-cache"
        )
    found = tuning.trials_of(place)
    names = list(dict.fromkeys(name for one in found for name in one.parameters))
    output = Output(json, quiet)
    output.table(
        ("trial", *names, "value", "failed"),
        [
            (one.number, *(one.parameters.get(name, "") for name in names),
             "" if one.value is None else f"{one.value:.4f}", one.reason)
            for one in found
        ],
    )  # fmt: skip
    if json:
        output.emit_json({"run": document["run"], "trials": [asdict(one) for one in found]})


def _find(run: str) -> dict[str, Any]:
    """Return the one run whose name begins so, or raise WrongUse."""
    folder = settings_.read().runs_dir
    found = [path for path in sorted(folder.glob("*.json")) if path.stem.startswith(run)]
    exact = [path for path in found if path.stem == run]
    if len(exact or found) != 1:
        raise WrongUse(f"run {run!r}: {len(found)} runs in {folder} begin so, expected one; see `sprat runs list`")
    return _read((exact or found)[0])


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json_.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise WrongUse(f"run {path}: cannot be read ({exc}); remove the file") from exc
    return found


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    from sprat.compiler.report.explain import figure

    bundles, stopped = run["bundles"], str(run.get("stopped") or "")
    ended = f"stopped: {stopped.split(':', 1)[0]}" if stopped else "" if bundles else "nothing fits"
    return (
        run["run"], run["model"], ",".join(one["target"] for one in bundles),
        ended or ",".join(one["scheme"] for one in bundles), f"{run['metric_name']} {figure(run['research_metric'])}",
    )  # fmt: skip

"""`sprat build`: data -> model -> candidates -> gates -> bundles and report."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sprat import settings as settings_
from sprat.cli.output import JsonFlag, Output, QuietFlag

if TYPE_CHECKING:
    from sprat.compiler.result import CandidateRow


def build(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml, or the folder that holds one.")],
    target: Annotated[list[str] | None, typer.Option(help="Target to build for; repeat for several.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for bundles, test set and report.html.")] = Path("out"),
    data: Annotated[str, typer.Option(help="Snapshot to use instead of the recipe's data (name or hash).")] = "",
    since: Annotated[
        str, typer.Option(help="Bundle whose features the data must still have; `last`: the newest build here.")
    ] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value over the recipe, such as train.seed=2.")
    ] = None,
    runner: Annotated[
        str, typer.Option(help="Where to try candidates: local, env:NAME or ssh:HOST; default: everywhere here.")
    ] = "",
    jobs: Annotated[
        str, typer.Option(help="Workers for conversions and trials, or dask://host:port for conversions on a cluster.")
    ] = "1",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Train and convert anew; keep nothing.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say in sentences why each other candidate lost.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Build a recipe: train, lower, gate on every runtime, choose, and write one bundle for each target.

    Example: sprat build models/digits --target generic-x86_64 --set train.seed=2 --out out
    """
    from sprat.cli import runs
    from sprat.compiler.build import build as build_
    from sprat.compiler.report.explain import sentences
    from sprat.compiler.result import Stopped
    from sprat.data import snapshot

    output = Output(json, quiet)
    settings = settings_.read()
    kept = snapshot.find(settings.data_dir, data) if data else None
    with _cancellable(), output.progress("build") as say:
        try:
            result, failed = build_(
                recipe, targets=target or (), data=kept, since=since, out=out, overrides=set_ or (), runner=runner, jobs=jobs,
                cache=not no_cache, settings=settings,
                say=say,
            ), None  # fmt: skip
        except Stopped as exc:  # a build that failed its gates is a run too, and can be explained
            result, failed = exc.result, exc
    document = result.document()
    runs.record(settings.runs_dir, document)
    for warning in result.warnings:
        output.warn(warning)
    if not quiet and result.candidates:
        output.table(
            ("target", "scheme", "bytes", result.metric_name, "drop (95 %)", "p50 us", "KiB", "passed on", "why"),
            [_row(row) for row in result.candidates],
        )  # fmt: skip
    if explain:
        for sentence in sentences(document):
            output.say(sentence)
    if failed is not None:
        raise failed
    output.result(document, *(f"{one.path}  {one.scheme}, {one.size} bytes, sha256 {one.sha256}" for one in result.bundles),
                  f"{result.report}")  # fmt: skip


@contextmanager
def _cancellable() -> Iterator[None]:
    """Let SIGTERM, by which pipelines cancel, end a build as Ctrl-C does: nothing half-made stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only there may a handler be set
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _row(row: CandidateRow) -> tuple[object, ...]:
    """Return one line of the table; a candidate that never ran has no figures."""
    why = row.reason or "chosen"
    if not row.latency_us:
        return (row.target, row.scheme, row.size or "-", *("-",) * 5, why)
    drop = f"{row.drop:.4f} ({row.drop_low:.4f}..{row.drop_high:.4f})"
    latency, memory = f"{row.latency_us:.1f}", f"{row.memory_kib:.0f}"
    return (
        row.target, row.scheme, row.size, f"{row.metric:.4f}", drop, latency, memory, ",".join(row.runtimes) or "-", why,
    )  # fmt: skip

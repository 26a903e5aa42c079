"""The build report: one HTML file with its pictures inside, for people who decide whether to release."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy.typing as npt

from sprat.compiler import charts
from sprat.compiler.ingest import Ingested
from sprat.compiler.recipe import Recipe
from sprat.compiler.result import BuildResult, CandidateRow
from sprat.compiler.trials import Trial, Trials
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]

_STYLE: Final = """
:root { color-scheme: light dark; --line: #94a3b855; --good: #0f766e; --bad: #b91c1c }
@media (prefers-color-scheme: dark) { :root { --good: #5eead4; --bad: #fca5a5 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right } .scroll { overflow-x: auto } code { font-size: .9em; overflow-wrap: anywhere }
.chosen { color: var(--good); font-weight: 600 } .out { color: var(--bad) }
figure { display: inline-block; margin: .5rem; background: #fff; border-radius: 6px; padding: .4rem }
figure svg { max-width: 100%; height: auto }
"""


def page(result: BuildResult, ingested: Ingested, research: Mapping[str, Array], trials: Trials, recipe: Recipe) -> str:
    """Return the whole page; it needs no other file."""
    test = ingested.parts["test"].labels
    sections = [
        _summary(result),
        _candidates(result),
        _pictures(result, test, research["test"], trials.every(), recipe),
        _runtimes(result),
        _list("Warnings", result.warnings),
        _facts(result),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(result.model)}: build report</title><style>{_STYLE}</style></head><body>"
        f"<h1>{html.escape(result.model)}: build report</h1>{''.join(sections)}</body></html>\n"
    )


def _summary(result: BuildResult) -> str:
    made = "".join(
        f"<li><b>{html.escape(one.target)}</b>: {html.escape(one.scheme)}, {one.size:,} bytes, "
        f"<code>{one.sha256}</code></li>"
        for one in result.bundles
    )
    return (
        f"<p>The research model reaches {html.escape(result.metric_name)} {result.research_metric:.4f} on the held-out "
        f"rows; the trivial model {result.yardstick:.4f}.</p><ul>{made or '<li class=out>No candidate passed.</li>'}</ul>"
    )


def _candidates(result: BuildResult) -> str:
    head = ("target", "scheme", "bytes", result.metric_name, "drop, 95 % upper", "agreement", "p50 us", "KiB over floor",
            "passed on", "why")  # fmt: skip
    return f"<h2>Candidates</h2>{_table(head, (_candidate(row) for row in result.candidates))}"


def _candidate(row: CandidateRow) -> tuple[str, ...]:
    kind = "chosen" if row.chosen else "out" if not row.runtimes else ""
    why = "chosen" + (", on the Pareto front" if row.on_front else "") if row.chosen else row.reason
    return (
        row.target, f"<span class='{kind}'>{html.escape(row.scheme)}</span>", f"{row.size:,}", f"{row.metric:.4f}",
        f"{row.drop_high:.4f}", f"{row.agreement:.4f}", f"{row.latency_us:.1f}", f"{row.memory_kib:,.0f}",
        html.escape(", ".join(row.runtimes)), html.escape(why),
    )  # fmt: skip


def _pictures(
    result: BuildResult, truth: Array, research: Array, trials: Sequence[Trial], recipe: Recipe
) -> str:  # fmt: skip
    chosen = {row.scheme for row in result.candidates if row.chosen}
    shown = [("research model", research)]
    shown += [(f"{one.scheme} on {one.runtime}", one.answers) for one in trials if one.scheme in chosen and one.passed]
    drawn = [charts.pareto(result.candidates, metric=result.metric_name)]
    for title, answers in shown:
        if recipe.task is Task.CLASSIFICATION:
            drawn.append(charts.confusion(truth, answers.argmax(1), recipe.labels, title=title))
        else:
            drawn.append(charts.scatter(truth, answers, title=title))
    return "<h2>Pictures</h2>" + "".join(f"<figure>{svg}</figure>" for svg in drawn)


def _runtimes(result: BuildResult) -> str:
    head = (
        "target",
        "runtime",
        "version",
        "right",
        "of",
        "drop (95 %)",
        "p50 us",
        "p99 us",
        "load ms",
        "peak KiB",
        "where",
    )
    rows = (
        (bundle.target, runtime, found["version"], str(found["correct"]), str(found["total"]),
         f"{found['drop']['value']:.4f} ({found['drop']['low']:.4f} to {found['drop']['high']:.4f})",
         f"{found['latency_us']['p50']:.1f}", f"{found['latency_us']['p99']:.1f}", f"{found['load_ms']:.1f}",
         f"{found['rss_peak_kib']:,}", html.escape(str(found["where"])))
        for bundle in result.bundles
        for runtime, found in bundle.measured["runtimes"].items()
    )  # fmt: skip
    return f"<h2>What the chosen bundles did</h2>{_table(head, rows)}"


def _facts(result: BuildResult) -> str:
    rows = ((html.escape(key), f"<code>{html.escape(str(value))}</code>") for key, value in result.facts.items())
    return f"<h2>Made from</h2>{_table(('what', 'value'), rows)}"


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{titles}</tr>{body}</table></div>'

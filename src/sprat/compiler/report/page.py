"""The build report: one HTML file with its pictures inside, for people who decide whether to release.

It needs no other file and no network, follows the reader's light or dark setting, and prints in light.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from sprat.compiler.ingest import Ingested
from sprat.compiler.lowering import Lowering
from sprat.compiler.proof.trials import Trial
from sprat.compiler.report import charts, explain
from sprat.compiler.report import pictures as report_pictures
from sprat.compiler.result import BuildResult, CandidateRow
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.workers.jobs import JobFailed

Array = npt.NDArray[Any]

_SHEET: Final = Path(__file__).with_name("report.css")
_SHORT: Final = 12
"""Characters of a hash that people compare; the whole one stands in the title of the cell."""


def page(
    result: BuildResult, ingested: Ingested, research: Mapping[str, Array], every: Sequence[Trial], recipe: Recipe, *,
    lowered: Mapping[str, Lowering | JobFailed] | None = None,
) -> str:  # fmt: skip
    """Return the whole page from every trial that was made; `lowered` lets it look into artifacts that collapsed."""
    sections = [
        _summary(result),
        _candidates(result) if result.candidates else "",
        report_pictures.candidates(result, every, allowed=recipe.gates.max_drop),
        _explained(result),
        report_pictures.answers(result, ingested.parts["test"].labels, research["test"], every, recipe),
        report_pictures.collapsed(every, lowered or {}, ingested),
        _gates(result, every) if every else "",
        _runtimes(result),
        _splits(result),
        _list("Data findings", ingested.findings or ("None of the checks found anything.",)),
        _list("Warnings", [one for one in result.warnings if not one.startswith("data: ")]),
        _facts(result),
    ]
    return document(f"{result.model}: build report", "".join(sections))


def document(title: str, body: str) -> str:
    """Return one self-contained page in both themes."""
    light, dark = charts.variables(charts.LIGHT), charts.variables(charts.DARK)
    style = (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"@media print {{ :root {{ color-scheme: light; {light} }} }}\n{_SHEET.read_text('utf-8')}"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>"
        f"<h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )


def _summary(result: BuildResult) -> str:
    tiles = [
        (_figure(result.research_metric), f"{result.metric_name}, research model"),
        *((f"{row.metric:.4f}", f"{result.metric_name}, {row.scheme} for {row.target}")
          for row in result.candidates if row.chosen),
        (_figure(result.yardstick), f"{result.metric_name}, yardstick (trivial model)"),
        *((f"{linear:.4f}", f"{result.metric_name}, yardstick (linear model)")
          for linear in (result.facts.get("linear_yardstick"),) if linear is not None),
        *((f"{row.size / 1024:,.1f} KiB", f"artifact, {row.scheme} for {row.target}")
          for row in result.candidates if row.chosen),
    ]  # fmt: skip
    made = "".join(
        f"<li><b>{html.escape(one.target)}</b>: {html.escape(one.scheme)}, bundle of {one.size:,} bytes, "
        f"SHA-256 <code>{one.sha256}</code></li>"
        for one in result.bundles
    )
    shown = "".join(f"<div><b>{value}</b><span>{html.escape(what)}</span></div>" for value, what in tiles)
    return (
        f'<p class="note">{html.escape(str(result.facts.get("about", "")))}</p><div class="tiles">{shown}</div>'
        f"<ul>{made or _nothing(result)}</ul>"
    )


def _nothing(result: BuildResult) -> str:
    """Say why there is no bundle."""
    said = explain.stopped(result.stopped) if result.stopped else "No candidate passed."
    return f'<li class="out">{html.escape(said)}</li>'


def _figure(value: float) -> str:
    return "not finite" if math.isnan(value) else f"{value:.4f}"


def _candidates(result: BuildResult) -> str:
    head = ("n:#", "scheme", "n:bytes", f"n:{result.metric_name}", "n:drop", "n:95 % interval", "n:agreement",
            "n:p50 us", "n:KiB over floor", "passed on", "why")  # fmt: skip
    numbered = list(enumerate(result.candidates, 1))
    targets = list(dict.fromkeys(row.target for row in result.candidates))
    tables = "".join(
        (f"<h3>{html.escape(target)}</h3>" if len(targets) > 1 else "")
        + table(head, ((_kind(row), _candidate(number, row)) for number, row in numbered if row.target == target))
        for target in targets
    )
    return f"<h2>Candidates</h2>{tables}{_where(result)}"


def _kind(row: CandidateRow) -> str:
    return "chosen" if row.chosen else "" if row.runtimes else "out"


def _candidate(number: int, row: CandidateRow) -> tuple[str, ...]:
    why = "chosen" if row.chosen else row.reason
    why += ", on the Pareto front" if row.on_front else ""
    tried = row.latency_us > 0
    figures = (
        f"{row.metric:.4f}", f"{row.drop:.4f}", f"{row.drop_low:.4f} to {row.drop_high:.4f}", f"{row.agreement:.4f}",
        f"{row.latency_us:,.1f}", f"{row.memory_kib:,.0f}",
    )  # fmt: skip
    return (
        str(number), html.escape(row.scheme), f"{row.size:,}" if row.size else "",
        *(figures if tried else [""] * len(figures)), html.escape(", ".join(row.runtimes)), html.escape(why),
    )  # fmt: skip


def _where(result: BuildResult) -> str:
    places = sorted({row.where for row in result.candidates if row.where})
    said = f"Latency and memory above were measured by: {html.escape('; '.join(places))}. " if places else ""
    return (
        f'<p class="note">{said}The drop is against the research model on the same held-out rows; its 95 % interval comes '
        "from a paired test or bootstrap. Latencies within 15 % of each other count as a tie.</p>"
    )


def _explained(result: BuildResult) -> str:
    lost = explain.sentences(result.document())[1:] if result.candidates else []
    return _list("Why the others lost", lost)


def _gates(result: BuildResult, trials: Sequence[Trial]) -> str:
    head = ("scheme", "runtime", "version", f"n:{result.metric_name}", "n:drop", "n:95 % from", "n:to", "n:agreement",
            "n:worst recall drop", "n:at the range's end", "gate", "runner")  # fmt: skip
    rows = (
        ("" if one.passed else "out", (
            html.escape(one.scheme), html.escape(one.runtime), html.escape(one.version),
            *(f"{value:.4f}" for value in (
                one.verdict.metric, one.verdict.drop.value, one.verdict.drop.low, one.verdict.drop.high,
                one.verdict.agreement, one.verdict.recall_drop, one.verdict.saturation)),
            html.escape("passed" if one.passed else f"{one.verdict.code}: {one.verdict.sentence}"),
            html.escape(one.runner)))
        for one in trials
    )  # fmt: skip
    return f"<h2>Gates on every runtime</h2>{table(head, rows)}"


def _runtimes(result: BuildResult) -> str:
    head = ("target", "runtime", "version", "n:right", "n:of", "n:p50 us", "n:p99 us", "n:load ms", "n:peak KiB",
            "measured on")  # fmt: skip
    rows = (
        ("", (html.escape(bundle.target), html.escape(runtime), html.escape(str(found["version"])),
              str(found["correct"]), str(found["total"]), f"{found['latency_us']['p50']:,.1f}",
              f"{found['latency_us']['p99']:,.1f}", f"{found['load_ms']:.1f}", f"{found['rss_peak_kib']:,}",
              html.escape(str(found["where"]))))
        for bundle in result.bundles
        for runtime, found in bundle.measured["runtimes"].items()
    )  # fmt: skip
    hosts = {tuple(bundle.measured.get("host", {}).values()) for bundle in result.bundles}
    note = "".join(f'<p class="note">Host: {html.escape(", ".join(map(str, host)))}.</p>' for host in sorted(hosts))
    return f"<h2>What the chosen bundles did</h2>{table(head, rows)}{note}" if result.bundles else ""


def _splits(result: BuildResult) -> str:
    splits: Mapping[str, Any] = result.facts.get("splits", {})
    rows = (("", (name, f"{found['rows']:,}", _hash(found["sha256"]))) for name, found in splits.items())
    return f"<h2>Splits</h2>{table(('part', 'n:rows', 'SHA-256 of the rows'), rows)}" if splits else ""


def _facts(result: BuildResult) -> str:
    rows = [
        ("", (html.escape(key), f"<code>{html.escape(explain.plain(value))}</code>"))
        for key, value in result.facts.items()
        if key not in {"splits", "versions", "about"}
    ]
    versions = (("", (html.escape(key), html.escape(str(value)))) for key, value in _versions(result.facts).items())
    return (
        f"<h2>Made from</h2>{table(('what', 'value'), rows)}"
        f"<h3>Versions that took part</h3>{table(('package', 'version'), versions)}"
    )


def _versions(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {**facts.get("versions", {}), **({"python": facts["python"]} if "python" in facts else {})}


def _hash(value: str) -> str:
    return f'<code title="{html.escape(value)}">{html.escape(value[:_SHORT])}</code>'


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table of `(class of the row, cells)`; a title that begins with `n:` heads a column of numbers."""
    kinds = [' class="n"' if title.startswith("n:") else ' class="why"' if title == "why" else "" for title in head]
    titles = "".join(f"<th{k}>{html.escape(t.removeprefix('n:'))}</th>" for k, t in zip(kinds, head, strict=True))
    body = "".join(
        f'<tr class="{kind}">{"".join(f"<td{k}>{cell}</td>" for k, cell in zip(kinds, cells, strict=True))}</tr>'
        for kind, cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'

"""Writes a picture of compared runs: alone as `.svg`, or with its tables as one `.html` that needs no other file."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sprat.errors import MachineLacks

if TYPE_CHECKING:
    from sprat.compiler.report.compare import Difference, Outcome


def write_plot(
    path: Path, picture: str, *, title: str, outcomes: Sequence[Outcome], differences: Sequence[Difference]
) -> None:
    """Write by the suffix of the path."""
    from sprat.compiler.report import charts
    from sprat.compiler.report import page as report
    from sprat.compiler.report.explain import figure

    text = charts.alone(picture)
    if path.suffix == ".html":
        runs = list(dict.fromkeys(one.run for one in outcomes))
        given = report.table(
            ("run", "target", "scheme", "metric", "n:chosen", "n:research", "n:yardstick", "n:bytes", "n:p50 us"),
            [("", _escaped(one.run, one.target, one.scheme or "nothing passed", one.metric_name,
                           *map(figure, (one.metric, one.research, one.yardstick)), f"{one.size:,}", f"{one.latency_us:,.1f}"))
             for one in outcomes],
        )  # fmt: skip
        differ = report.table(
            ("area", "what differs", *runs), [("", (*_escaped(one.area, one.what), *(f"<code>{value}</code>" for value in _escaped(*one.values)))) for one in differences]
        ) if differences else "<p>Data, settings, code and versions are the same.</p>"  # fmt: skip
        text = report.document(title, f"<figure>{picture}</figure>{given}<h2>What differs</h2>{differ}")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise MachineLacks(f"--plot {path}: cannot be written ({exc.strerror}); name a folder that exists") from exc


def _escaped(*cells: str) -> tuple[str, ...]:
    return tuple(html.escape(cell) for cell in cells)

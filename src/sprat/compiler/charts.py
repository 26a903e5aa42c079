"""Pictures of the report as SVG text: the Pareto plot and confusion matrices."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from sprat.compiler.result import CandidateRow

Array = npt.NDArray[Any]

CHOSEN: Final = "#0f766e"
FRONT: Final = "#1d4ed8"
PASSED: Final = "#64748b"
OUT: Final = "#b91c1c"
_MOST_NUMBERS: Final = 16
"""Above this many classes a matrix shows colours only."""


def pareto(rows: Sequence[CandidateRow], *, metric: str) -> str:
    """Plot size against p50 latency; the label carries the metric, the colour what became of the candidate."""
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    shown = [row for row in rows if row.latency_us > 0]
    for row in shown:
        colour = CHOSEN if row.chosen else OUT if not row.runtimes else FRONT if row.on_front else PASSED
        axes.scatter(
            row.size / 1024, row.latency_us, s=120 if row.chosen else 60, color=colour,
            marker="*" if row.chosen else "o" if row.runtimes else "x", zorder=3,
        )  # fmt: skip
        axes.annotate(
            f"{row.scheme}  {row.metric:.4f}", (row.size / 1024, row.latency_us), xytext=(6, 6),
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    front = sorted((row.size / 1024, row.latency_us) for row in shown if row.on_front)
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color=FRONT, linewidth=0.8, linestyle=":", zorder=2)
    axes.set(
        xlabel="artifact, KiB", ylabel="p50 latency here, us", title=f"Candidates by size and latency ({metric} beside)"
    )
    axes.margins(0.2)
    axes.grid(alpha=0.25)
    return _svg(figure)


def confusion(truth: Array, predicted: Array, labels: Sequence[str], *, title: str) -> str:
    """Draw counts of true class (down) against predicted class (across)."""
    count = len(labels)
    matrix = np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count)
    size = min(5.5, 1.8 + 0.32 * count)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.log1p(matrix), cmap="GnBu")
    axes.set_xticks(range(count), labels, rotation=90 if max(map(len, labels)) > 2 else 0, fontsize=7)
    axes.set_yticks(range(count), labels, fontsize=7)
    axes.set_title(title, fontsize=9)
    axes.set(xlabel="answered", ylabel="is")
    if count <= _MOST_NUMBERS:
        for i, j in np.argwhere(matrix):
            dark = matrix[i, j] > matrix.max() / 3
            axes.text(j, i, str(matrix[i, j]), ha="center", va="center", fontsize=7, color="white" if dark else "black")
    return _svg(figure)


def scatter(truth: Array, predicted: Array, *, title: str) -> str:
    """Draw true values against given ones."""
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(truth.ravel(), predicted.ravel(), s=8, color=CHOSEN, alpha=0.6)
    ends = [float(truth.min()), float(truth.max())]
    axes.plot(ends, ends, color=PASSED, linewidth=0.8)
    axes.set(xlabel="is", ylabel="answered")
    axes.set_title(title, fontsize=9)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """Return the figure as an `<svg>` element that can stand in a page; the same figure gives the same text."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "sprat", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    return text[text.index("<svg") :]

"""Pictures as SVG text that follow the page: colours are CSS variables, so one picture reads in light, dark and print.

Matplotlib is given a colour of our own for each role; the finished text carries `var(--role)` in its place.
"""

from __future__ import annotations

import functools
import hashlib
import html
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sprat.compiler.result import CandidateRow

Array = npt.NDArray[Any]
P = ParamSpec("P")

INK: Final = "#010203"
FAINT: Final = "#040506"
CHOSEN: Final = "#070809"
FLOAT: Final = "#0a0b0c"
PASSED: Final = "#0d0e0f"
OUT: Final = "#101112"
PAPER: Final = "#131415"
_ROLES: Final[Mapping[str, str]] = {
    INK: "ink", FAINT: "faint", CHOSEN: "chosen", FLOAT: "float", PASSED: "passed", OUT: "out", PAPER: "paper",
}  # fmt: skip
LIGHT: Final[Mapping[str, str]] = {
    "ink": "#1e293b", "faint": "#64748b", "chosen": "#0f766e", "float": "#1d4ed8", "passed": "#64748b",
    "out": "#b91c1c", "paper": "#ffffff", "line": "#cbd5e1",
}  # fmt: skip
DARK: Final[Mapping[str, str]] = {
    "ink": "#e2e8f0", "faint": "#94a3b8", "chosen": "#2dd4bf", "float": "#7dabff", "passed": "#94a3b8",
    "out": "#f87171", "paper": "#0f172a", "line": "#334155",
}  # fmt: skip
SERIES: Final = (CHOSEN, FLOAT, OUT, PASSED)
_STYLE: Final[Mapping[str, Any]] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "text.color": INK, "axes.edgecolor": FAINT,
    "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.titlesize": 10, "xtick.color": FAINT, "ytick.color": FAINT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.facecolor": "none", "figure.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "grid.color": FAINT, "grid.alpha": 0.25,
    "legend.frameon": False, "legend.fontsize": 8,
}  # fmt: skip


def variables(colours: Mapping[str, str]) -> str:
    """Return CSS declarations for one theme."""
    return "; ".join(f"--{role}: {colour}" for role, colour in colours.items())


def styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Run a drawing function in the page's style: matplotlib reads it whenever something is put into a figure."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> str:
        with mpl.rc_context(dict(_STYLE)):
            return draw(*args, **kwargs)

    return inside


def figure(width: float, height: float) -> Figure:
    """Return an empty figure; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def svg(drawn: Figure, *, title: str) -> str:
    """Return the figure as an `<svg>` element that can stand in a page; the same figure gives the same text."""
    out = io.StringIO()
    salt = hashlib.sha256(title.encode()).hexdigest()[:12]
    with mpl.rc_context({"svg.hashsalt": salt}):
        drawn.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # many pictures stand in one page: its ids must differ
    for colour, role in _ROLES.items():
        text = text.replace(colour, f"var(--{role})")
    # A fixed size in points would not shrink on a narrow screen; the viewBox keeps the shape.
    head = f'<svg role="img" aria-label="{html.escape(title, quote=True)}" '
    return text.replace("<svg ", head, 1)


def alone(picture: str) -> str:
    """Return a picture as a file of its own: the colours of both themes go with it."""
    style = (
        f"<style>:root {{ {variables(LIGHT)} }} svg {{ background: var(--paper) }} "
        f"@media (prefers-color-scheme: dark) {{ :root {{ {variables(DARK)} }} }}</style>"
    )
    end = picture.index(">") + 1
    return f"{picture[:end]}{style}{picture[end:]}"


@styled
def pareto(rows: Sequence[tuple[int, CandidateRow]], *, metric: str, research: float) -> str:
    """Plot the metric over size and over latency by `(number in the table, row)`; bars are 95 % intervals of the drop."""
    drawn = figure(9.2, 3.9)
    pair = drawn.subplots(1, 2, sharey=True)
    shown = [(number, row) for number, row in rows if row.latency_us > 0]
    for ax, key, label in (
        (pair[0], "size", "artifact, KiB"),
        (pair[1], "latency_us", "p50 latency where measured, us"),
    ):
        points = {
            number: (getattr(row, key) / (1024 if key == "size" else 1), row.metric, row) for number, row in shown
        }  # fmt: skip
        _scale(ax, [x for x, _, _ in points.values()])
        for x, y, row in points.values():
            colour = _colour(row)
            marker = "*" if row.chosen else "o" if row.runtimes else "X"
            ax.errorbar(x, y, yerr=_interval(row, research), color=colour, linewidth=1, alpha=0.5, capsize=2, zorder=2)
            ax.scatter(x, y, s=150 if row.chosen else 45, color=colour, marker=marker, zorder=3 + row.chosen)
        for place, numbers in _together({number: (x, y) for number, (x, y, _) in points.items()}):
            ax.annotate(
                ", ".join(map(str, numbers)), place, xytext=(7, 6), textcoords="offset points", fontsize=8
            )  # fmt: skip
        ax.axhline(research, color=FAINT, linewidth=0.8, linestyle="--", zorder=1)
        ax.set_xlabel(label)
        ax.margins(0.14, 0.1)
        ax.grid(visible=True)
    pair[0].set_ylabel(metric)
    keys = [
        ("*", CHOSEN, "chosen"),
        ("o", FLOAT, "on the Pareto front"),
        ("o", PASSED, "passed"),
        ("X", OUT, "stopped"),
    ]
    handles = [mpl.lines.Line2D([], [], color=c, marker=m, linestyle="", label=name) for m, c, name in keys]
    handles.append(mpl.lines.Line2D([], [], color=FAINT, linestyle="--", label="research model"))
    drawn.legend(handles=handles, loc="outside upper left", ncols=5)
    return svg(drawn, title=f"Candidates: {metric} over size and over latency")


@styled
def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]], *, label: str, title: str) -> str:
    """Draw values side by side, one group a row, each series in its colour; values on the right."""
    height = 0.9 + 0.34 * len(groups) * max(1, 0.6 * len(series))
    drawn = figure(7.2, min(height, 14))
    ax = drawn.subplots()
    thick = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        places = np.arange(len(groups)) + (i - (len(series) - 1) / 2) * thick
        drawn_bars = ax.barh(places, values, height=thick * 0.9, color=SERIES[i % len(SERIES)], label=name, alpha=0.85)
        ax.bar_label(drawn_bars, fmt="%.4g", padding=3, fontsize=8)
    ax.set_yticks(range(len(groups)), groups)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    ax.margins(x=0.12)
    if len(series) > 1:
        drawn.legend(loc="outside upper left", ncols=4)
    return svg(drawn, title=title)


@styled
def drops(rows: Iterable[tuple[str, float, float, float, bool]], *, metric: str, allowed: float) -> str:
    """Draw each drop with its 95 % interval against what the gate allows; the last entry of a row: did it pass."""
    lines = list(rows)
    drawn = figure(7.2, 1.1 + 0.27 * len(lines))
    ax = drawn.subplots()
    for place, (_, value, low, high, passed) in enumerate(lines):
        colour = CHOSEN if passed else OUT
        ax.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.6, solid_capstyle="round")
        ax.scatter(value, place, color=colour, s=26, marker="o" if passed else "X", zorder=3)
    ax.axvline(0, color=FAINT, linewidth=0.8)
    ax.axvline(allowed, color=OUT, linewidth=1, linestyle="--")
    ax.set_yticks(range(len(lines)), [name for name, *_ in lines], fontsize=8)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.set_xlabel(f"drop of {metric} with its 95 % interval; dashed: the gate's limit {allowed:g}")
    ax.grid(visible=True, axis="x")
    return svg(drawn, title=f"Drop of {metric} of each candidate on each runtime")


def _interval(row: CandidateRow, research: float) -> Array:
    """Return the lengths of the error bar below and above the metric, from the interval of its drop."""
    half = max(0.0, row.drop_high - row.drop), max(0.0, row.drop - row.drop_low)
    scale = max(abs(research), 1e-12) if row.less_is_better else 1.0
    down, up = (half[1], half[0]) if row.less_is_better else half
    return np.array([[down * scale], [up * scale]])


def _scale(ax: Axes, values: Sequence[float]) -> None:
    """Choose an axis on which a tie looks like one: never less than a third wide, logarithmic over a wide range."""
    if not values or min(values) <= 0:
        return
    low, high = min(values), max(values)
    if high > 20 * low:
        ax.set_xscale("log")
    elif high < 1.3 * low:
        ax.set_xlim(0.85 * low, 1.2 * high)


def _colour(row: CandidateRow) -> str:
    return CHOSEN if row.chosen else OUT if not row.runtimes else FLOAT if row.on_front else PASSED


def _together(points: Mapping[int, tuple[float, float]]) -> list[tuple[tuple[float, float], list[int]]]:
    """Group the numbers of points whose labels would overlap; each group stands at its rightmost point."""
    spans = [max(axis) - min(axis) or 1.0 for axis in zip(*points.values(), strict=True)]
    groups: list[tuple[tuple[float, float], list[int]]] = []
    for number, place in sorted(points.items(), key=lambda item: item[1]):
        last = groups[-1][0] if groups else None
        if last and all(abs(a - b) < 0.05 * span for a, b, span in zip(place, last, spans, strict=True)):
            groups[-1] = (place, sorted([*groups[-1][1], number]))
        else:
            groups.append((place, [number]))
    return groups

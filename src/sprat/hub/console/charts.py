"""Pictures as SVG strings: data in, markup out; nothing here reads a file, a clock or a store.

Every chart keeps its text crisp at any width: the outer drawing has no viewBox, text stands at percentages, and only
the plot inside is stretched. Colours come from classes of the style sheet, so both themes hold. No chart says
something by colour alone: each cell, point and segment carries its value as a title.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

_PLOT: Final = 1000
"""Width and height of a stretched plot in its own units."""
_WIDEST_GUTTER: Final = 30.0
"""Per cent of a heatmap's width that its row names may take."""
_BRIDGED: Final = 2
"""A line goes on over so many slots without a value: frames may come every other minute."""
_NAME_LENGTH: Final = 15
_ROW: Final = 20
_STEPS: Final = (0.25, 0.5, 1.0)
"""Shares of the threshold at which a heatmap's cell takes the next colour; the last is the threshold itself."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a bar: `kind` is a class of the style sheet (ok, wait, bad, idle, p0…p5)."""

    kind: str
    value: float
    name: str


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a value for each slot of time, None where nothing was told."""

    kind: str
    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One row of a heatmap: a name and a value for each column, None where nothing was told."""

    name: str
    values: Sequence[float | None]


def bar(segments: Sequence[Segment], *, total: float, height: int = 8) -> Markup:
    """Draw parts of a whole side by side; what is missing to `total` stays empty."""
    whole = max(total, sum(segment.value for segment in segments), 1e-9)
    drawn, start = [], 0.0
    for segment in segments:
        width = 100 * segment.value / whole
        if width > 0:
            drawn.append(
                Markup('<rect class="s-{}" x="{}%" width="{}%" height="{}"><title>{}: {}</title></rect>').format(
                    segment.kind, _short(start), _short(width), height, segment.name, _short(segment.value)
                )
            )
        start += width
    said = ", ".join(f"{segment.name} {_short(segment.value)}" for segment in segments)
    return Markup('<svg class="bar" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        height, f"{said} of {_short(total)}", Markup().join(drawn)
    )


def sparkline(values: Sequence[float | None], *, label: str, height: int = 24) -> Markup:
    """Draw one small line without axes."""
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    lines = _polylines(Series("p50", label, values), top)
    return Markup('<svg class="spark" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        height, label, _stretched(lines, 2, height - 4)
    )


def line_chart(
    series: Sequence[Series],
    slots: Sequence[str],
    *,
    unit: str,
    label: str,
    height: int = 190,
) -> Markup:
    """Draw lines over slots of equal time; `slots` name them, and each has a title with all its values."""
    told = [value for line in series for value in line.values if value is not None]
    top, ticks = _ticks(max(told, default=0.0))
    plot_top, plot_height = 18, height - 18 - 20
    levels = [(tick, plot_top + plot_height * (1 - tick / top)) for tick in ticks]
    grid = Markup().join(
        Markup('<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>').format(y=_short(y)) for _, y in levels
    )
    names = Markup().join(
        Markup('<text class="tick" x="0" y="{}">{}</text>').format(
            _short(y - 4), f"{_short(tick)} {unit}".strip() if tick == ticks[-1] else _short(tick)
        )
        for tick, y in levels
    )
    plot = _stretched(Markup().join(_polylines(line, top) for line in series), plot_top, plot_height)
    over = _hover(series, slots, unit, plot_top, plot_height) + _time_axis(slots, height - 4)
    return Markup('<svg class="chart" width="100%" height="{}" role="img" aria-label="{}">{}{}{}{}</svg>').format(
        height, label, grid, plot, names, over
    )


def heatmap(rows: Sequence[HeatRow], columns: Sequence[str], *, threshold: float, label: str) -> Markup:
    """Draw rows by columns in five colours; a cell at or above `threshold` also carries a mark."""
    height = len(rows) * _ROW + 18
    gutter = min(_WIDEST_GUTTER, 3 + 1.8 * max((len(_clip(row.name)) for row in rows), default=0))
    lines = Markup().join(
        Markup('<text class="name" x="0" y="{}">{}<title>{}</title></text>').format(
            index * _ROW + 14, _clip(row.name), row.name
        )
        + _cells(row, columns, threshold, gutter=gutter, y=index * _ROW)
        for index, row in enumerate(rows)
    )
    axis = Markup('<svg x="{}%" y="0" width="{}%" height="{}">{}</svg>').format(
        _short(gutter), _short(100 - gutter), height, _time_axis(columns, height - 4)
    )
    return Markup('<svg class="heat" width="100%" height="{}" role="img" aria-label="{}">{}{}</svg>').format(
        height, label, lines, axis
    )


def heat_legend(threshold: float) -> tuple[tuple[str, str], ...]:
    """Return the colours of a heatmap, weakest first: class and what it means."""
    bounds = [_short(share * threshold) for share in _STEPS]
    return (
        ("h-none", "no data"),
        ("h0", f"< {bounds[0]}"),
        ("h1", f"< {bounds[1]}"),
        ("h2", f"< {bounds[2]}"),
        ("h3", f"≥ {bounds[2]} shift"),
    )


def _cells(row: HeatRow, columns: Sequence[str], threshold: float, *, gutter: float, y: int) -> Markup:
    width = (100 - gutter) / max(len(columns), 1)
    drawn = []
    for index, (column, value) in enumerate(zip(columns, row.values, strict=True)):
        x = gutter + index * width
        kind = "h-none" if value is None else f"h{sum(value >= share * threshold for share in _STEPS)}"
        said = f"{row.name}, {column}: " + ("no data" if value is None else f"{value:.3f}")
        drawn.append(
            Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}" rx="2"><title>{}</title></rect>').format(
                kind, _short(x), y + 1, _short(width * 0.92), _ROW - 3, said
            )
        )
        if kind == "h3":
            drawn.append(
                Markup('<circle class="mark" cx="{}%" cy="{}" r="2"/>').format(
                    _short(x + width * 0.46), _short(y + _ROW / 2 - 0.5)
                )
            )
    return Markup().join(drawn)


def _polylines(line: Series, top: float) -> Markup:
    """Draw one line, broken where nothing was told for long; a lone point becomes a short dash."""
    count = max(len(line.values) - 1, 1)
    runs: list[list[str]] = [[]]
    silent = 0
    for index, value in enumerate(line.values):
        if value is None:
            silent += 1
            continue
        if silent > _BRIDGED:
            runs.append([])
        silent = 0
        runs[-1].append(f"{_short(_PLOT * index / count)},{_short(_PLOT * (1 - min(value, top) / top))}")
    drawn = []
    for run in runs:
        points = run if len(run) != 1 else [run[0], _shifted(run[0])]
        if points:
            drawn.append(Markup('<polyline class="line l-{}" points="{}"/>').format(line.kind, " ".join(points)))
    return Markup().join(drawn)


def _shifted(point: str) -> str:
    x, y = point.split(",")
    return f"{float(x) + 4:.5g},{y}"


def _stretched(content: Markup, y: float, height: float) -> Markup:
    return Markup(
        '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" overflow="visible">{}</svg>'
    ).format(_short(y), _short(height), _PLOT, _PLOT, content)


def _hover(series: Sequence[Series], slots: Sequence[str], unit: str, y: float, height: float) -> Markup:
    width = 100 / max(len(slots), 1)
    drawn = []
    for index, slot in enumerate(slots):
        told = [f"{s.name} {_short(v)} {unit}" for s in series if (v := s.values[index]) is not None]
        drawn.append(
            Markup('<rect class="slot" x="{}%" y="{}" width="{}%" height="{}"><title>{}</title></rect>').format(
                _short(index * width),
                _short(y),
                _short(width),
                _short(height),
                f"{slot}: {', '.join(told) or 'no data'}",
            )
        )
    return Markup().join(drawn)


def _time_axis(slots: Sequence[str], y: float) -> Markup:
    if not slots:
        return Markup()
    marks = sorted({0, len(slots) // 3, 2 * len(slots) // 3, len(slots) - 1})
    drawn = []
    for index in marks:
        anchor = "start" if index == 0 else "end" if index == len(slots) - 1 else "middle"
        x = 100 if anchor == "end" else 100 * index / max(len(slots) - 1, 1)
        drawn.append(
            Markup('<text class="tick" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
                _short(x), _short(y), anchor, slots[index]
            )
        )
    return Markup().join(drawn)


def _ticks(highest: float) -> tuple[float, list[float]]:
    """Choose round values up to just above `highest`: the top of the axis and three to five marks."""
    if highest <= 0:
        return 1.0, [0.0, 1.0]
    rough = highest / 3
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough)
    count = math.ceil(highest / step)
    return step * count, [step * index for index in range(count + 1)]


def _clip(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"


def _short(value: float) -> str:
    """Write a number with at most four digits that count, never in powers of ten."""
    if value == 0 or not math.isfinite(value):
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"

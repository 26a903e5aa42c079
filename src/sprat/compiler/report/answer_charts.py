"""Pictures of what a model answered: confusion, recall, reliability, values, and the weights where one collapsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.patches import Rectangle

from sprat.compiler.report import charts
from sprat.compiler.report.charts import CHOSEN, FAINT, FLOAT, INK, OUT, styled

Array = npt.NDArray[Any]

_MOST_NUMBERS: Final = 16
"""Above this many classes a matrix shows shades only."""
_MOST_CLASSES: Final = 60
_MOST_RECALLS: Final = 40
_MOST_POINTS: Final = 4000
_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """Calibration in bins of the winning score: mean score, share that was right, and rows of each bin that has any."""

    confidence: Array
    right: Array
    rows: Array
    ece: float


def reliability_of(truth: Array, scores: Array, *, bins: int = _BINS) -> Reliability:
    """Return the reliability and the expected calibration error over bins of equal width.

    ECE = sum over bins of rows/n * |accuracy - confidence|: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern
    Neural Networks, ICML 2017, equation 3. Scores are probabilities [n, classes].
    """
    best, right = scores.max(1), scores.argmax(1) == truth
    place = np.clip(np.ceil(best * bins).astype(int) - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    used = rows > 0
    confidence = np.bincount(place, best, bins)[used] / rows[used]
    share = np.bincount(place, right, bins)[used] / rows[used]
    ece = float(np.sum(rows[used] * np.abs(share - confidence)) / len(truth))
    return Reliability(confidence, share, rows[used], ece)


def recalls(truth: Array, predicted: Array, count: int) -> Array:
    """Return the share of each class's rows that got its label; NaN for a class without rows."""
    return np.array(
        [np.mean(predicted[truth == label] == label) if np.any(truth == label) else np.nan for label in range(count)]
    )


@styled
def confusion(truth: Array, predicted: Array, labels: Sequence[str], *, title: str) -> str:
    """Draw counts of true class (down) against answered class (across); the shade is the share of the true class."""
    count = len(labels)
    matrix = np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    size = min(7.0, 1.9 + 0.3 * count)
    drawn = charts.figure(size, size)
    ax = drawn.subplots()
    for i, j in np.argwhere(matrix):
        colour = CHOSEN if i == j else OUT
        shade = 0.08 + 0.5 * float(shares[i, j])
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, alpha=shade, linewidth=0))
        if count <= _MOST_NUMBERS:
            ax.text(j, i, str(matrix[i, j]), ha="center", va="center", fontsize=8)
    if count <= _MOST_CLASSES:
        ax.set_xticks(range(count), labels, rotation=90 if max(map(len, labels)) > 3 else 0, fontsize=8)
        ax.set_yticks(range(count), labels, fontsize=8)
    ax.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal", xlabel="answered", ylabel="is")
    ax.set_title(title)
    return charts.svg(drawn, title=f"Confusion matrix: {title}")


@styled
def recall(truth: Array, predicted: Mapping[str, Array], labels: Sequence[str]) -> str:
    """Draw the recall of each class for two or more models, joined by a line where they differ; of many, the worst."""
    values = {name: recalls(truth, guess, len(labels)) for name, guess in predicted.items()}
    if len(labels) > _MOST_RECALLS:
        lowest = np.min(np.nan_to_num(np.stack(list(values.values())), nan=2.0), axis=0)
        shown = np.sort(np.argsort(lowest, kind="stable")[:_MOST_RECALLS])
        labels, values = [labels[i] for i in shown], {name: found[shown] for name, found in values.items()}
    drawn = charts.figure(5.6, min(12.0, 1.2 + 0.27 * len(labels)))
    ax = drawn.subplots()
    table = np.stack(list(values.values()))
    for place in range(len(labels)):
        ax.plot([table[:, place].min(), table[:, place].max()], [place, place], color=FAINT, linewidth=2, alpha=0.5)
    for (name, found), colour, marker in zip(values.items(), _COLOURS, "sod^", strict=False):
        # The float model as a larger ring: what is drawn over it stays to be seen.
        first = colour == FLOAT
        ax.scatter(
            found, range(len(labels)), s=56 if first else 24, marker=marker, label=name, zorder=3, edgecolors=colour,
            facecolors="none" if first else colour,
        )  # fmt: skip
    ax.set_yticks(range(len(labels)), labels, fontsize=8)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    low = float(np.nanmin(table, initial=1.0))
    ax.set_xlim(max(0.0, low - 0.08), 1.02)
    ax.set_xlabel("recall on the held-out rows")
    ax.grid(visible=True, axis="x")
    drawn.legend(loc="outside upper left", ncols=2)
    return charts.svg(drawn, title="Recall of each class")


@styled
def reliability(truth: Array, scores: Mapping[str, Array]) -> str:
    """Draw how often an answer is right against how sure the model was; the legend carries the ECE."""
    drawn = charts.figure(4.6, 4.6)
    ax = drawn.subplots()
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle="--")
    for (name, given), colour, marker in zip(scores.items(), _COLOURS, "sod^", strict=False):
        found = reliability_of(truth, given)
        sizes = 12 + 120 * found.rows / found.rows.max()
        ax.plot(found.confidence, found.right, color=colour, linewidth=1, alpha=0.7)
        ax.scatter(
            found.confidence, found.right, s=sizes, color=colour, alpha=0.7, marker=marker,
            label=f"{name}: ECE {found.ece:.4f}",
        )  # fmt: skip
    ax.set(xlim=(0, 1.03), ylim=(0, 1.05), xlabel="winning score", ylabel="share that was right")
    drawn.legend(loc="outside upper left", markerscale=0.7, scatterpoints=1)
    ax.grid(visible=True)
    return charts.svg(drawn, title="Reliability: how often an answer is right at each score")


@styled
def scatter(truth: Array, predicted: Array, *, title: str) -> str:
    """Draw true values against given ones."""
    drawn = charts.figure(4.2, 4.2)
    ax = drawn.subplots()
    # Evenly thinned: a detector's thousands of numbers a row would make a page of many megabytes.
    step = -(-truth.size // _MOST_POINTS)
    ax.scatter(truth.ravel()[::step], predicted.ravel()[::step], s=9, color=CHOSEN, alpha=0.5, linewidths=0)
    ends = [float(truth.min()), float(truth.max())]
    ax.plot(ends, ends, color=FAINT, linewidth=0.8, linestyle="--")
    ax.set(xlabel="is", ylabel="answered")
    ax.set_title(title)
    ax.grid(visible=True)
    return charts.svg(drawn, title=f"Answered against true values: {title}")


@styled
def spread(values: Mapping[str, Array], *, label: str, title: str) -> str:
    """Draw the distributions of some sets of numbers over common bins, as shares of each set."""
    drawn = charts.figure(4.4, 2.7)
    ax = drawn.subplots()
    joined = np.concatenate([one[np.isfinite(one)] for one in values.values()])
    low, high = (float(joined.min()), float(joined.max())) if len(joined) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, 41)
    for (name, found), colour in zip(values.items(), _COLOURS, strict=False):
        finite = found[np.isfinite(found)]
        shares = np.histogram(finite, edges)[0] / max(1, len(found))
        lost = len(found) - len(finite)
        ax.stairs(shares, edges, color=colour, fill=True, alpha=0.25)
        ax.stairs(shares, edges, color=colour, linewidth=1.2, label=name + (f" ({lost} not finite)" if lost else ""))
    ax.set_yscale("symlog", linthresh=0.01)
    ax.set_yticks([0, 0.01, 0.1, 1], ["0", "1 %", "10 %", "100 %"])
    ax.set_ylim(0, 1.3)
    ax.set_xlabel(label)
    ax.set_title(title, fontsize=9, color=INK)
    ax.legend(loc="upper right")
    return charts.svg(drawn, title=title)


_COLOURS: Final = (FLOAT, CHOSEN, OUT, INK)

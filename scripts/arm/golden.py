"""Does a bundle answer there as it does here? Its golden set, and each held-out row beside x86 on the same runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from bundles import Built
from rows import Table
from userland import Board

from sprat import settings
from sprat.errors import MachineLacks, SpratError

FLOAT_TOLERANCE: Final = 32 * 2.0**-23
"""Absolute, of probabilities: 32 float32 steps below 1, for kernels of x86 and ARM add up in another order. Up to 12
were seen; a golden set allows 800."""
INTEGER_TOLERANCE: Final = 1
"""Steps of the output's scale; the softmax's table rounds differently now and then."""
MOST_APART: Final = 0.01
"""Share of the outputs that may be one step apart: 1 in 640 was seen."""

Arrays = Mapping[str, npt.NDArray[Any]]


class NoAnswer(SpratError):
    """`sprat-device infer` ended with an error."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two sets of answers are apart."""

    worst: float
    share: float
    """Share of the values that differ at all."""
    labels: int
    """Rows whose largest output is another one."""
    unit: str

    @property
    def ok(self) -> bool:
        """Tell whether that is as near as was promised."""
        if self.unit == "LSB":
            return self.worst <= INTEGER_TOLERANCE and self.share <= MOST_APART
        return self.worst <= FLOAT_TOLERANCE and self.labels == 0

    @property
    def allowed(self) -> str:
        """Say what was promised."""
        if self.unit == "LSB":
            return f"<= {INTEGER_TOLERANCE} LSB, in <= {MOST_APART:.0%} of values"
        return f"<= {FLOAT_TOLERANCE:.2g}, same labels"

    def __str__(self) -> str:
        if self.unit == "LSB":
            return f"{self.worst:.3g} LSB apart, in {self.share:.2%} of values"
        return f"{self.worst:.2g} {self.unit} apart, {self.labels} other labels"


def references(built: Sequence[Built], work: Path) -> dict[tuple[Path, str], Arrays]:
    """Run all held-out rows of all bundles on this host: bundle and runtime -> raw outputs."""
    pairs = [(one, runtime) for one in built for runtime in one.correct]
    return {(one.path, name): outputs(host_python(name), one, name, work / "x86.npz") for one, name in pairs}


def golden_sets(board: Board, built: Sequence[Built], table: Table) -> None:
    """Reproduce the golden sets of a board's bundles on each of its runtimes."""
    for one, runtime in _pairs(board, built):
        _golden(board, one, runtime, table)


def held_out(board: Board, built: Sequence[Built], host: Mapping[tuple[Path, str], Arrays], table: Table) -> None:
    """Run the held-out rows on a board and show how far they are from this host's answers."""
    for one, runtime in _pairs(board, built):
        core = "" if board.is_first else f" ({board.core})"
        what = f"held-out rows against x86, {one.build.model} {one.build.scheme} on {runtime}{core}"
        try:
            theirs = outputs(board.python, one, runtime, board.work / f"{board.core}.npz")
        except NoAnswer as exc:
            table.show(board.name, what, exc, expected="answers", ok=False)
            continue
        mine = host[one.path, runtime]
        apart = distance(mine, theirs)
        rows = len(next(iter(mine.values())))
        table.show(board.name, what, f"{rows} rows, {apart}", expected=apart.allowed, ok=apart.ok)


def _pairs(board: Board, built: Sequence[Built]) -> list[tuple[Built, str]]:
    machine = board.machine
    ours = [one for one in built if one.target == machine.target]
    return [(one, runtime) for one in ours for runtime in one.correct if runtime in machine.runtimes]


def distance(mine: Arrays, theirs: Arrays) -> Distance:
    """Compare raw outputs; what is not finite, or of another shape or type, is infinitely far."""
    worst, differ, count, labels, unit = 0.0, 0, 0, 0, "LSB"
    for name in sorted({*mine, *theirs}):
        one, other = mine.get(name), theirs.get(name)
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            return Distance(np.inf, 1.0, 0, "(other outputs)")
        gap = np.abs(one.astype(np.float64) - other.astype(np.float64))
        if not np.isfinite(gap).all():
            return Distance(np.inf, 1.0, 0, "(not finite)")
        worst, differ, count = max(worst, float(gap.max(initial=0.0))), differ + int((gap > 0).sum()), count + gap.size
        if one.ndim > 1:
            labels += int((one.argmax(axis=-1) != other.argmax(axis=-1)).sum())
        unit = unit if np.issubdtype(one.dtype, np.integer) else "absolute"
    return Distance(worst, differ / max(count, 1), labels, unit)


def _golden(board: Board, one: Built, runtime: str, table: Table) -> None:
    command: list[str | Path] = [board.python, "-m", "sprat_device", "check", one.path, "--runtime", runtime, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    what = f"golden set, {one.build.model} {one.build.scheme} on {runtime}"
    document = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    golden = document.get("golden")
    if not golden:
        said = (document.get("detail") or done.stderr).strip().splitlines()
        ended = f"exit code {done.returncode}: {said[-1] if said else 'no word'}"
        table.show(board.name, what, ended, expected="reproduced", ok=False)
        return
    found = f"{golden['count']} rows, worst {golden['worst']:.3g}"
    if "Warning" in done.stderr:
        table.tell(done.stderr)
        found += ", with warnings"
    ok = bool(document["ok"]) and "Warning" not in done.stderr
    table.show(board.name, what, found, expected=f"<= {golden['tolerance']:g} {golden['kind']}", ok=ok)


def host_python(runtime: str) -> Path:
    """Return the Python of this host that has a runtime: tflite-runtime lives in an environment of its own."""
    if runtime != "tflite":
        return Path(sys.executable)
    python = settings.read().runtimes_dir / "tflite" / "bin" / "python"
    if not python.exists():
        raise MachineLacks("no environment with tflite-runtime; run sprat runtimes add tflite")
    return python


def outputs(python: Path, one: Built, runtime: str, into: Path) -> dict[str, npt.NDArray[Any]]:
    """Run all held-out rows with one Python and return the raw outputs, or raise NoAnswer."""
    into.unlink(missing_ok=True)
    command: list[str | Path] = [
        python, "-m", "sprat_device", "infer", one.path, one.rows, "--raw", "--runtime", runtime, "--output", into,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoAnswer(f"{python.name} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    with np.load(into) as found:
        return {name: found[name] for name in found.files}

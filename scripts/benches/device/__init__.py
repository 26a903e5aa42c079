"""The agent on a device: throughput, spool, wire, start, memory, each beside what it stands in for.

Every part is a program of its own that runs with a device's Python and prints one JSON document; both sides of a ratio
are measured by it, by turns, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import UNIT
from rows import Row

from sprat import settings
from sprat.errors import MachineLacks

HERE = Path(__file__).parent
THROUGHPUT = {"tflite": ">= 0.95", "litert": ">= 0.85"}


@dataclass(frozen=True)
class Bench:
    """Where the parts run, and on what."""

    folder: Path
    pythons: dict[str, Path]
    """Runtime -> the Python that has it."""
    resnet8: Path
    digits: Path
    digits_rows: Path
    quick: bool

    def run(self, part: str, *arguments: object, runtime: str = "tflite", as_unit: bool = True) -> Any:
        """Run one part with a device's Python, as the agent's unit does, and return its document."""
        command = [str(self.pythons[runtime]), str(HERE / f"{part}.py"), *map(str, arguments)]
        environment = dict(os.environ) | (UNIT if as_unit else {})
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder, env=environment)
        if done.returncode:
            raise MachineLacks(f"bench {part} failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
        return json.loads(done.stdout)


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of all parts."""
    from device import models  # noqa: PLC0415 - TensorFlow is behind it

    tflite = settings.read().runtimes_dir / "tflite" / "bin" / "python"
    if not tflite.exists():
        raise MachineLacks("no environment with tflite-runtime; run sprat runtimes add tflite")
    with tempfile.TemporaryDirectory(prefix="sprat-bench-") as name:
        folder = Path(name)
        pythons = {"tflite": tflite, "litert": Path(sys.executable)}
        resnet8, (digits, digits_rows) = models.resnet8(folder), models.digits(folder)
        bench = Bench(folder, pythons, resnet8, digits, digits_rows, quick)
        return [row for part in PARTS for row in part(bench)]


def _throughput(bench: Bench) -> list[Row]:
    rows = []
    for runtime, goal in THROUGHPUT.items():
        found = bench.run(
            "throughput", bench.resnet8, runtime, *((5, 1.0) if bench.quick else (9, 3.0)), runtime=runtime
        )
        rows.append(
            _paired(
                f"agent, ResNet-8 int8 on {runtime}", found["agent"], "inf/s", "bare invoke", found["bare"], goal=goal
            )
        )
    return rows


def _spool(bench: Bench) -> list[Row]:
    found = bench.run("spool", 5 if bench.quick else 9, 200 if bench.quick else 600)
    what = f"200 B records, durable per {found['per_commit']}"
    return [
        _paired(f"spool, {what}", found["spool"], "rec/s", "write + fdatasync", found["bare"], goal=">= 0.8"),
        _paired(f"spool, {what}", found["spool"], "rec/s", "SQLite FULL", found["sqlite"]),
        Row("device", "spool, bytes written to the disk", found["spool_bytes"], "B/rec", "bytes of a record", 200, "<= 1.35"),
        Row("device", "SQLite FULL, bytes written to the disk", found["sqlite_bytes"], "B/rec", "bytes of a record", 200),
    ]  # fmt: skip


def _wire(bench: Bench) -> list[Row]:
    found = bench.run("wire", bench.digits, bench.digits_rows)
    return [
        Row("device", f"wire, a prediction with 10 scores, {what}", sizes["frame"], "B", "JSON per record", sizes["json"],
            "<= 32", "value", f"({sizes['count']} in a frame)")
        for what, sizes in (("at random", found["random"]), ("digits' own", found["model"]))
    ]  # fmt: skip


def _disk(bench: Bench) -> list[Row]:
    found = bench.run("disk", bench.digits, bench.digits_rows, 600 if bench.quick else 3600)
    return [
        Row(
            "device",
            "disk, an hour at 10 predictions/s",
            found["agent"],
            "MiB",
            "SQLite FULL, same durability",
            found["sqlite"],
        )
    ]


def _memory(bench: Bench) -> list[Row]:
    found = bench.run("memory", bench.digits, bench.digits_rows, 50_000 if bench.quick else 1_000_000)
    samples, (empty, full) = found["anonymous_mib"], found["waited_mib"]
    tenth = max(1, len(samples) // 10)
    # The most of each, for what is given back to the system and taken again is no growth; the medians would tell a leak
    # that fits into what was given back.
    early, late = max(full, *samples[:tenth]), max(samples[tenth:])
    middle, last = statistics.median(samples[tenth : 2 * tenth]), statistics.median(samples[-tenth:])
    spread = f"({min(samples):.2f}-{max(samples):.2f} MiB over {found['inferences']} inferences)"
    what = "memory over a million inferences, allocated"
    return [
        Row("device", f"{what}, the most", late, "MiB", "in the first tenth", early, "<= 1.01", spread=spread),
        Row("device", f"{what}, at the end", last, "MiB", "after a tenth", middle),
        Row("device", "memory, everything waits for the disk", full, "MiB", "nothing does", empty),
    ]


def _start(bench: Bench) -> list[Row]:
    # A board's set-up makes the bytecode that the unit's Python takes; here there is only that of the plain one.
    found = bench.run("start", bench.digits, bench.digits_rows, 5 if bench.quick else 15, as_unit=False)
    return [
        _paired("start, import of the agent", found["import"], "ms", "numpy + tflite-runtime", found["bare import"]),
        _paired("start to the first prediction", found["first"], "ms", "bare runtime, one invoke", found["bare first"]),
    ]


def _asked(bench: Bench) -> list[Row]:
    found = bench.run("asked", bench.digits, bench.digits_rows, 1000 if bench.quick else 10_000)
    return [
        Row("device", f"on demand, {side}, {at}", found[side][at], "us", f"bare predict, {at}", found["bare"][at])
        for side in ("tcp raw", "tcp json", "unix raw", "unix json")
        for at in ("p50", "p99")
    ]


def _cached(bench: Bench) -> list[Row]:
    found = bench.run("cached", bench.digits, bench.digits_rows, 10_000)
    return [
        Row("device", f"cache of {found['entries']} answers, PSS", found["pss_mib"], "MiB", "what it counts itself", found["counted_mib"]),
        _paired("an input that came before, from the cache", found["hit"], "us", "run again", found["run"]),
    ]  # fmt: skip


def _paired(
    figure: str, values: Sequence[float], unit: str, reference: str, beside: Sequence[float], *, goal: str = ""
) -> Row:
    """Make a row of rounds that were run by turns: the pair of the median ratio stands for all.

    The best rounds of both sides stand beside it, for what else the machine does only ever makes a round worse.
    """
    best = max if unit.endswith("/s") else min
    pairs = sorted(zip(values, beside, strict=True), key=lambda pair: pair[0] / pair[1])
    value, other = pairs[len(pairs) // 2]
    least, most = pairs[0][0] / pairs[0][1], pairs[-1][0] / pairs[-1][1]
    spread = f"({least:.2f}-{most:.2f}, {len(pairs)} rounds, best beside best {best(values) / best(beside):.3f})"
    return Row("device", figure, value, unit, reference, other, goal, spread=spread)


PARTS = (_throughput, _spool, _wire, _disk, _memory, _start, _asked, _cached)

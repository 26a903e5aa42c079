"""Leaves one agent alone at 100 predictions a second behind a link that flaps; its memory stays flat, its ledger balances."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from processes import allocated_mib, as_its_unit_runs_it
from quiet import Quiet
from rows import Row

from sprat import settings
from sprat.errors import MachineLacks
from sprat.hub.store.telemetry import FILE_NAME, TelemetryStore
from sprat.hub.store.telemetry_values import LedgerRow
from sprat.lab import chapters, story
from sprat.lab.link import Link
from sprat.lab.parts import LabDevice, wait_for
from sprat.lab.stage import Stage

RATE_HZ = 100.0
LONG_S, SHORT_S = 3600.0, 90.0
SAMPLE_S = 5.0
PICTURE = Path("build/soak.png")
SEED = 20
STALLED_S = 3.0
"""The lab's devices write a frame every second; after three the disk takes nothing, and records wait in memory."""


@dataclass
class Course:
    """What was seen: seconds since the start, MiB, for how long nothing was written, and the spells without a link."""

    at_s: list[float] = field(default_factory=list)
    allocated: list[float] = field(default_factory=list)
    unwritten_s: list[float] = field(default_factory=list)
    spells: list[tuple[float, float, str]] = field(default_factory=list)


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of memory and ledger after an hour (`quick`: 90 s)."""
    python = settings.read().runtimes_dir / "tflite" / "bin" / "python"
    if not python.exists():
        raise MachineLacks("no environment with tflite-runtime; run sprat runtimes add tflite")
    models = Path(__file__).parents[2] / "models"
    with (
        tempfile.TemporaryDirectory(prefix="sprat-soak-") as folder,
        story.stage(Path(folder) / "stage", models, Quiet(), device_python=python, console_port=0) as on,
    ):
        on.names, on.rate_hz = ("shoal-1",), RATE_HZ
        for chapter in (chapters.build, chapters.start_hub, chapters.sign):
            chapter(on)
        with as_its_unit_runs_it(python, Path(folder) / "bytecode"):
            chapters.install(on)
        course = _leave_alone(on.devices[0], SHORT_S if quick else LONG_S)
        _draw(course)
        return [*_flat(course), *_ledger(on, on.devices[0])]


def _leave_alone(device: LabDevice, span_s: float) -> Course:
    course, dice = Course(), random.Random(SEED)  # noqa: S311 - weather, not a secret
    begun = time.monotonic()
    link = device.links[1]
    while (now := time.monotonic() - begun) < span_s:
        device.require_alive()
        spell = dice.uniform(2, 20)
        with _spell(link, course, begun) if dice.random() < 0.4 else _calm():
            _watch(device, course, begun, min(now + spell, span_s))
        if len(course.at_s) % 60 < 4:
            print(f"   {now:5.0f} s, {course.allocated[-1]:.1f} MiB, {len(course.spells)} spells", file=sys.stderr)
    link.restore()
    return course


@contextmanager
def _spell(link: Link, course: Course, begun: float) -> Iterator[None]:
    """Lose the link for a while, by turns cut off and half open."""
    kind = ("cut", "stall")[len(course.spells) % 2]
    since = time.monotonic() - begun
    (link.cut if kind == "cut" else link.stall)()
    yield
    link.restore()
    course.spells.append((since, time.monotonic() - begun, kind))


@contextmanager
def _calm() -> Iterator[None]:
    yield


def _watch(device: LabDevice, course: Course, begun: float, until: float) -> None:
    assert device.process is not None
    while (now := time.monotonic() - begun) < until:
        if not course.at_s or now - course.at_s[-1] >= SAMPLE_S:
            course.at_s.append(now)
            course.allocated.append(allocated_mib(device.process.pid))
            course.unwritten_s.append(_unwritten_s(device.state / "spool"))
        time.sleep(0.5)


def _unwritten_s(spool: Path) -> float:
    """Return how long ago the newest record was written."""
    written = []
    for segment in spool.rglob("*.seg"):
        with suppress(FileNotFoundError):  # the hub has it, so it goes
            written.append(segment.stat().st_mtime)
    return time.time() - max(written, default=time.time())


def _flat(course: Course) -> list[Row]:
    """Compare the last tenth with the second one, for the first is the warm-up, and with the sixth: does it still rise?"""
    tenth = max(1, len(course.allocated) // 10)
    late = float(np.median(course.allocated[-tenth:]))
    spread = (
        f"({min(course.allocated):.1f}-{max(course.allocated):.1f} MiB over {course.at_s[-1]:.0f} s, picture {PICTURE})"
    )
    what = f"allocated memory at the end, {len(course.spells)} times without a link"
    return [
        Row(
            "soak",
            what,
            late,
            "MiB",
            since,
            float(np.median(course.allocated[begin : begin + tenth])),
            "<= 1.01",
            spread=spread,
        )
        for since, begin in (("after a tenth", tenth), ("after a half", 5 * tenth))
    ] + [
        Row("soak", "longest without a write to the spool", max(course.unwritten_s), "s", "usual",
            float(np.median(course.unwritten_s)), spread="(records wait in memory meanwhile)")
    ]  # fmt: skip


def _ledger(on: Stage, device: LabDevice) -> list[Row]:
    """Let the backlog come in, end the agent, and count at the hub."""
    with TelemetryStore(on.fleet().folder / FILE_NAME) as store:

        def settled() -> tuple[LedgerRow, ...] | None:
            lanes = store.ledger(device.name)
            return lanes if lanes and all(lane.missing == 0 for lane in lanes) else None

        lanes = wait_for("the ledger", settled, timeout_s=300)
        index = np.array([row.index for row in store.predictions(device.name, limit=2**40)])
    produced = sum(lane.produced for lane in lanes)
    lost = sum(lane.missing + lane.evicted + lane.damaged for lane in lanes)
    seen, times = np.unique(index, return_counts=True)
    found = {
        "records lost": lost, "predictions doubled": int((times - 1).sum()), "gaps in the running index": int(seen[-1]) + 1 - len(seen),
    }  # fmt: skip
    return [
        Row("soak", what, count, "rec", "produced", produced, "<= 0", "value", f"({len(seen)} predictions at the hub)")
        for what, count in found.items()
    ]


def _draw(course: Course) -> None:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for since, until, kind in course.spells:
        axes.axvspan(since / 60, until / 60, color={"cut": "0.85", "stall": "0.93"}[kind], lw=0)
    minutes = np.array(course.at_s) / 60
    axes.plot(minutes, course.allocated, lw=1)
    stalled = minutes[np.array(course.unwritten_s) > STALLED_S]
    axes.plot(stalled, np.zeros(len(stalled)), "r|")
    axes.set(xlabel="minutes (grey: link cut off, light grey: half open; red: for 3 s the disk took nothing)", ylabel="allocated memory, MiB",
             ylim=(0, 1.25 * max(course.allocated)), title="One agent, 100 predictions a second, a link that flaps")  # fmt: skip
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)

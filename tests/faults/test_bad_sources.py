"""A source floods, sends garbage and stalls: what is good is predicted, what is not is told, and the ledger balances."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.field import Field, field, running
from tests.ingests import until
from tests.unit.device.inference import bundles

from sprat_device.board.clock import Clock
from sprat_device.board.settings import InputSettings
from sprat_device.contract.phases import Lane, Reason
from sprat_device.inference.sources import open_inlet
from sprat_device.inference.sources.item import Tell
from sprat_device.inference.sources.reading import Source

pytestmark = pytest.mark.faults
FLOOD, GARBAGE = 20_000, 300
PROGRAM = """
import os, sys, time
out = sys.stdout
for n in range({flood}):
    out.write("[1, 2, 3]\\n")
for n in range({garbage}):
    out.write('{{"x": \\n' if n % 2 else "[1, 2, NaN]\\n")
    out.flush()
    time.sleep(0.01)
while not os.path.exists({go!r}):
    time.sleep(0.02)
while True:
    out.write("[4, 5, 6]\\n")
    out.flush()
    time.sleep(0.003)
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Field]:
    with field(tmp_path) as made:
        yield made


def test_a_flood_garbage_and_a_stall_one_after_the_other(world: Field) -> None:
    go = world.folder / "go"
    program = PROGRAM.format(flood=FLOOD, garbage=GARBAGE, go=str(go))

    def source(clock: Clock, tell: Tell) -> Source:
        command = (sys.executable, "-c", program)
        settings = replace(InputSettings("tiny", "command"), command=command, most_hz=1000, stalled_after_s=0.3)
        return open_inlet(settings, clock, tell).fitted(bundles.manifest())

    def told(code: str) -> int:
        return len(world.store.events("d1", code=code, limit=10_000))

    with running(world.device(source=source)) as device:
        until(lambda: device.loop.errors > GARBAGE // 2)
        until(lambda: told("source-stalled") > 0)
        flooded = device.loop.healthy
        assert 0 < flooded < FLOOD
        assert all(report.balanced() for report in device.recorder.ledger().values())
        go.touch()
        until(lambda: told("source-flowing") > 0)
        device.goes_on()
        device.stop_predicting()
        until(device.sent)
        rows = {row.lane: row for row in world.store.ledger("d1")}
        assert all(row.balanced for row in rows.values())
        lane = device.recorder.ledger()[Lane.PREDICTIONS]
        assert lane.produced == device.loop.healthy
        seen = world.arrived()
        assert len(seen) == len(set(seen)) == lane.produced - lane.evicted
        assert told("source-overflow") > 0
        assert told(Reason.INPUT_UNREADABLE) > 0
        assert told(Reason.INPUT_NON_FINITE) > 0

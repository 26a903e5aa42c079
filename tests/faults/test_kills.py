"""kill -9 of device, ingest and broker, again and again: what was safe on the disk is at the hub, once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.field import DEVICE, Field, field, running
from tests.ingests import until

from sprat_device.contract.phases import Lane

pytestmark = pytest.mark.faults
KILLS = 12


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Field]:
    with field(tmp_path) as made:
        yield made


class Victim:
    """The device's process, and the last it said to be safe."""

    def __init__(self, world: Field) -> None:
        certificate, key = world.authority.issue(DEVICE)
        given = (world.folder / "spool", world.link.port, world.authority.ca, certificate, key)
        self._command = [sys.executable, "-m", "tests.field_process", *map(str, given)]
        self.safe = 0

    def live_and_die(self, seconds: float) -> None:
        with subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
            assert process.stdout is not None
            first = int(process.stdout.readline())
            assert first >= self.safe, "what was safe before the kill is gone after it"
            time.sleep(seconds)
            process.kill()
            said = process.stdout.read().splitlines()
        self.safe = int(said[-1]) if said else first


def test_nothing_that_was_safe_is_lost_or_doubled(world: Field) -> None:
    dice = random.Random(7)  # noqa: S311 - when to kill
    victim = Victim(world)
    for number in range(KILLS):
        other = (None, world.ingest, world.broker)[number % 3]
        if other:
            other.kill()
        victim.live_and_die(dice.uniform(0, 0.6))
        if other:
            other.start()
    with running(world.device()) as device:
        device.goes_on()
        device.stop_predicting()
        until(device.sent)
        lane = device.recorder.ledger()[Lane.PREDICTIONS]
        assert lane.evicted == lane.damaged == 0
        (row,) = [row for row in world.store.ledger(DEVICE) if row.lane is Lane.PREDICTIONS]
        assert (row.missing, row.surplus, row.conflicts) == (0, 0, 0)
        assert row.stored == lane.produced >= victim.safe + device.loop.healthy

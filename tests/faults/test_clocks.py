"""The wall clock is wrong, set, wrong again: inference goes on, the ledger balances, the hub tells true times where it can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.field import Field, field, running
from tests.ingests import until

from sprat.hub.store.telemetry_values import Timing
from sprat_device.board.clock import SystemClock
from sprat_device.contract.phases import ClockState, Lane

pytestmark = pytest.mark.faults
YEAR_US = 365 * 86_400_000_000


class WrongClock(SystemClock):
    """The machine's clock with a wall clock that is off, and what it believes of itself."""

    def __init__(self, *, years: float, believed: bool) -> None:
        super().__init__()
        self.set(years=years, believed=believed)

    def set(self, *, years: float, believed: bool) -> None:
        self._off_us = round(years * YEAR_US)
        self._believed = ClockState.SYNCHRONISED if believed else ClockState.UNSYNCHRONISED

    def wall_us(self) -> int:
        return super().wall_us() + self._off_us

    def state(self) -> ClockState:
        return self._believed


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Field]:
    with field(tmp_path) as made:
        yield made


def test_a_board_that_starts_in_1970_is_timed_by_its_first_set_clock(world: Field) -> None:
    clock = WrongClock(years=-56, believed=False)
    true = SystemClock()
    begun_us = true.wall_us()
    world.link.cut()  # nothing arrives before the clock is set: an arrival is a bound, not a time
    with running(world.device(clock=clock)) as device:
        device.goes_on(400)
        until(lambda: device.recorder.ledger()[Lane.PREDICTIONS].spooled > 0)
        clock.set(years=0, believed=True)
        device.goes_on(200)
        world.link.restore()
        world.whole(device)
    ended_us = true.wall_us()
    rows = sorted(world.store.predictions("d1", limit=10**6), key=lambda row: row.index)
    assert {row.timing for row in rows} == {Timing.BOOT, Timing.SYNCHRONISED}
    told = [row.wall_us for row in rows]
    assert begun_us - 1_000_000 <= told[0]
    assert told[-1] <= ended_us + 1_000_000
    assert told == sorted(told)


def test_a_clock_that_jumps_to_2040_and_back_costs_nothing(world: Field) -> None:
    clock = WrongClock(years=0, believed=True)
    with running(world.device(clock=clock)) as device:
        until(lambda: bool(world.arrived()))
        for years in (14, 0, -56, 0):
            clock.set(years=years, believed=True)
            device.goes_on(150)
        world.whole(device)

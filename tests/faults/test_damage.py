"""A bit flips on the disk of a running device: what it costs is counted as damaged, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.field import Field, field, running
from tests.ingests import until

from sprat_device.contract.phases import Lane

pytestmark = pytest.mark.faults


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Field]:
    with field(tmp_path) as made:
        yield made


def test_a_flipped_bit_in_a_segment_costs_the_frame_that_it_hits(world: Field) -> None:
    with running(world.device()) as device:
        until(lambda: bool(world.arrived()))
        world.link.cut()
        known = set(_segments(world))  # the hub may have some of what is in them
        until(lambda: len(set(_segments(world)) - known) > 2)
        path = sorted(set(_segments(world)) - known)[1]
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 0x10
        path.write_bytes(raw)
        device.goes_on()
        world.link.restore()
        until(lambda: device.recorder.ledger()[Lane.PREDICTIONS].damaged > 0)
        device.goes_on()  # a later frame tells the hub
        world.whole(device, evicts=True)
        lane = device.recorder.ledger()[Lane.PREDICTIONS]
        assert lane.damaged > 0
        assert lane.evicted == 0
        (row,) = [row for row in world.store.ledger("d1") if row.lane is Lane.PREDICTIONS]
        assert row.stored == lane.produced - lane.damaged


def _segments(world: Field) -> list[Path]:
    """Return the segments of predictions but for the one that is being written."""
    return sorted((world.folder / "spool").glob(f"*/{Lane.PREDICTIONS}/*.seg"))[:-1]

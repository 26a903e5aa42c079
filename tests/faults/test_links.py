"""The link flaps, hangs half open or is gone; the hub never acks; the broker dies. Inference goes on, the ledger balances."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.field import Field, field, running
from tests.ingests import until

from sprat_device.contract.phases import Lane

pytestmark = pytest.mark.faults
FLAPS = 6


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Field]:
    with field(tmp_path) as made:
        yield made


def test_a_broker_that_flaps_every_second_costs_nothing(world: Field) -> None:
    with running(world.device()) as device:
        device.goes_on()
        for _ in range(FLAPS):
            world.link.cut()
            device.goes_on()
            time.sleep(0.5)
            world.link.restore()
            time.sleep(0.5)
        world.whole(device)


def test_a_half_open_link_is_noticed_and_what_hung_in_it_is_sent_again(
    world: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sprat_device.telemetry.transport._KEEPALIVE_S", 2)
    with running(world.device()) as device:
        until(lambda: bool(world.arrived()))
        world.link.stall()
        device.goes_on()
        until(lambda: not device.uplink.connected)
        device.goes_on()
        world.link.cut()
        world.link.restore()
        until(lambda: device.uplink.connected)
        world.whole(device)


def test_a_hub_that_never_acks_stops_at_the_window_and_then_catches_up(world: Field) -> None:
    with running(world.device()) as device:
        until(lambda: bool(world.arrived()))
        world.ingest.freeze()
        device.goes_on(800)
        until(lambda: device.recorder.ledger()[Lane.PREDICTIONS].spooled > 300)
        waiting = device.recorder.ledger()[Lane.PREDICTIONS]
        assert waiting.balanced()
        world.ingest.thaw()
        world.whole(device)


def test_broker_and_ingest_die_by_turns(world: Field) -> None:
    with running(world.device()) as device:
        for number in range(4):
            device.goes_on()
            part = (world.broker, world.ingest)[number % 2]
            part.kill()
            device.goes_on()
            part.start()
        # The ingest that lost its broker comes back by itself.
        world.whole(device)


def test_a_broker_that_is_gone_for_longer_than_the_spool_holds_costs_counted_records(world: Field) -> None:
    with running(world.device(cap_bytes=60_000)) as device:
        until(lambda: bool(world.arrived()))
        world.link.cut()
        until(lambda: device.recorder.ledger()[Lane.PREDICTIONS].evicted > 1000)
        device.goes_on()
        world.link.restore()
        world.whole(device, evicts=True)
        told = [event.detail for event in world.store.events("d1", code="gap", limit=10_000)]
        evicted = device.recorder.ledger()[Lane.PREDICTIONS].evicted
        assert sum(int(str(gap["records"])) for gap in told if gap["lane"] == Lane.PREDICTIONS) == evicted

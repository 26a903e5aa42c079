"""A recorder without a disk: nothing waits, everything is counted, the ledger balances."""

from __future__ import annotations

from tests.clock import ManualClock

from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract.acks import Ack
from sprat_device.contract.phases import Lane
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import Spool
from sprat_device.telemetry.unkept import UnkeptSpool


def test_every_record_is_counted_as_lost_and_the_ledger_balances() -> None:
    spool: Spool = UnkeptSpool(epoch=0xABC)
    clock = ManualClock()
    recorder = Recorder(spool, clock, TelemetrySettings(frame_interval_s=1))
    for i in range(30):
        recorder.event("test", {"i": i})
        clock.advance(0.5)
        recorder.write()
    recorder.write(everything=True)
    reports = recorder.ledger()
    assert all(report.balanced() for report in reports.values())
    assert reports[Lane.EVENTS].evicted >= 30
    assert reports[Lane.EVENTS].epoch == "0000000000000abc"
    assert (spool.logs(), spool.peek(1, Lane.EVENTS, start=0, stop=9), spool.ack(Ack(1, Lane.EVENTS, ((0, 3),)))) == (
        (),
        None,
        0,
    )

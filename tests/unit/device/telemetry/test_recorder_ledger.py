"""Any order of records, passes, flushes, acks, sick disks and kills: the ledger balances, open records included, and gaps add up."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.clock import ManualClock
from tests.faults.disk import SickDisk
from tests.spools import disk_bytes, open_spool

from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract.acks import Ack
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Origin, Prediction
from sprat_device.telemetry.recorder import Recorder

ORIGINS = [Origin(ModelName("digits"), seq, Digest("ab" * 32)) for seq in (1, 2)]
CAP, QUEUE = 12_000, 40


class Recording(RuleBasedStateMachine):
    """A recorder without its thread, over a spool that is soon full."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        for sync in ("fsync", "fdatasync"):  # nothing here cuts the power
            self.patch.setattr(os, sync, lambda _fd: None)
        self.clock = ManualClock()
        self.epoch = 0
        self.open()

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    def open(self) -> None:
        self.epoch += 1
        self.disk = SickDisk()
        self.spool = open_spool(self.folder, self.disk, cap_bytes=CAP, segment_bytes=900, first_epoch=self.epoch)
        self.recorder = Recorder(self.spool, self.clock, TelemetrySettings(), queue_records=QUEUE)
        found = self.spool.ledger()[Lane.PREDICTIONS]
        self.produced, self.acked, self.lost = found.produced, found.acked, found.evicted
        self.told = 0
        tell = self.recorder._writer._tell

        def listening(detail: dict[str, Any]) -> None:
            self.told += detail["records"] if detail["lane"] == Lane.PREDICTIONS else 0
            tell(detail)

        self.recorder._writer._tell = listening  # type: ignore[method-assign]

    @rule(count=st.integers(1, QUEUE + 20), origin=st.sampled_from(ORIGINS))
    def predict(self, count: int, origin: Origin) -> None:
        for index in range(count):
            made = Prediction(index, index, 0, 0, np.array([0.5, 0.5], np.float32), 1)
            self.recorder.prediction(origin, made, scores=True)
        self.produced += count

    @rule()
    def say(self) -> None:
        self.recorder.event("said", {"what": "x" * 100})

    @rule(everything=st.booleans(), seconds=st.sampled_from([0.0, 3.0, 6.0]))
    def write(self, everything: bool, seconds: float) -> None:
        self.clock.advance(seconds)
        self.recorder.write(everything=everything)

    @precondition(lambda self: self.spool.ledger()[Lane.PREDICTIONS].spooled)
    @rule(first=st.integers(0, 30), more=st.integers(0, 30))
    def ack(self, first: int, more: int) -> None:
        before = self.spool.ledger()[Lane.PREDICTIONS]
        epoch = int(before.epoch, 16)
        try:
            self.spool.ack(Ack(epoch, Lane.PREDICTIONS, ((first, first + more),)))
        except OSError:
            assert self.disk.ail is not None
        self.acked += before.spooled - self.spool.ledger()[Lane.PREDICTIONS].spooled

    @rule(ail=st.sampled_from([None, errno.ENOSPC, errno.EROFS, errno.EIO]))
    def change_health(self, ail: int | None) -> None:
        self.disk.ail = ail

    @rule()
    def kill(self) -> None:
        self.open()

    @rule()
    def settle(self) -> None:
        """Once the disk is well and all is written, each record that was given up has been told of."""
        self.disk.ail = None
        for _ in range(3):  # the second tells of what the first gave up, the third of what that did
            self.recorder.write(everything=True)
        report = self.recorder.ledger()[Lane.PREDICTIONS]
        assert report.open == 0
        assert self.told == report.evicted - self.lost

    @invariant()
    def balances(self) -> None:
        self.recorder.write()
        report = self.recorder.ledger()[Lane.PREDICTIONS]
        assert all(lane.balanced() for lane in self.recorder.ledger().values())
        assert (report.produced, report.acked) == (self.produced, self.acked)
        assert disk_bytes(self.folder) <= CAP


TestRecording = Recording.TestCase
TestRecording.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)

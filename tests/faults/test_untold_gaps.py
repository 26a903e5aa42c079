"""The power is cut at every single write while the writer evicts and tells gaps; after a boot every loss is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.faults.disk import CuttingFiles, Loss, PowerCut
from tests.spools import open_spool, waiting

from sprat_device.board.files import Files, OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract.frame import open_frame
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import Lane
from sprat_device.contract.records import Origin, Prediction, decode
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool

pytestmark = pytest.mark.faults
ORIGIN = Origin(ModelName("digits"), 1, Digest("ab" * 32))
OUTPUTS = np.random.default_rng(1).random(500, np.float32)
Told = dict[tuple[int, int], int]


@dataclass
class Hub:
    """What has come of losses: records by epoch and first seq, where a hub counts a gap once."""

    told: Told = field(default_factory=dict)

    def see(self, spool: DiskSpool) -> None:
        """Look at every frame of events."""
        for key, raw in waiting(spool).items():
            frame = open_frame(raw)
            rows = decode(frame.body, count=frame.header.count) if key[1] is Lane.EVENTS else ()
            assert isinstance(rows, tuple)
            for gap in (row.detail for row in rows if row.code == "gap"):
                assert (gap["lane"], gap["reason"]) == (Lane.PREDICTIONS, "evicted")
                self.told[int(str(gap["epoch"]), 16), int(str(gap["first_seq"]))] = int(str(gap["records"]))


def _open(folder: Path, files: Files, *, cap_bytes: int, first_epoch: int = 1) -> tuple[DiskSpool, Recorder]:
    spool = open_spool(folder, files, cap_bytes=cap_bytes, segment_bytes=1200, first_epoch=first_epoch)
    return spool, Recorder(spool, ManualClock(), TelemetrySettings())


def _life(folder: Path, files: Files, hub: Hub) -> None:
    spool, recorder = _open(folder, files, cap_bytes=12_500)
    for index in range(12):
        recorder.prediction(ORIGIN, Prediction(index, 1, 1, 0, OUTPUTS, 5), scores=True)
        recorder.write(everything=True)
        hub.see(spool)
    spool.close()


@pytest.mark.parametrize("loss", Loss)
def test_what_was_evicted_is_told_after_any_cut(tmp_path: Path, loss: Loss) -> None:
    counting, whole = CuttingFiles(), Hub()
    _life(tmp_path / "whole", counting, whole)
    assert len(whole.told) > 3
    for n in range(1, counting.operations + 1):
        folder, hub = tmp_path / str(n), Hub()
        with pytest.raises(PowerCut):
            _life(folder, CuttingFiles(n, loss=loss), hub)
        spool, recorder = _open(folder, OsFiles(), cap_bytes=50_000, first_epoch=900)  # nothing more is evicted
        for _ in range(2):  # the first frame brings the gaps, the second tells them
            recorder.event("boot", {})
            recorder.write(everything=True)
            hub.see(spool)
        assert sum(hub.told.values()) == spool.ledger()[Lane.PREDICTIONS].evicted, f"cut {n}"

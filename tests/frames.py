"""Makes frames for tests, as a device would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sprat_device.contract import frame, records
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import ClockState, Lane

BUNDLE = Digest("ab" * 32)
ORIGIN = records.Origin(ModelName("digits"), 3, BUNDLE)
WALL = 1_790_000_000_000_000
BOOT = bytes(range(16))


def header(
    lane: Lane, seq: int, count: int, *, produced: int = 0, epoch: int = 7, **other: object
) -> frame.FrameHeader:
    values: dict[str, object] = {
        "boot_id": BOOT, "mono_first_us": 1_000_000 * seq, "mono_last_us": 1_000_000 * seq + 900_000,
        "wall_first_us": WALL + 1_000_000 * seq, "wall_last_us": WALL + 1_000_000 * seq + 900_000,
        "clock": ClockState.SYNCHRONISED, "ledger": frame.Ledger(produced=produced),
    }  # fmt: skip
    return frame.FrameHeader(lane=lane, epoch=epoch, seq=seq, count=count, **{**values, **other})  # type: ignore[arg-type]


def predictions(
    seq: int, count: int = 10, *, produced: int | None = None, first_index: int | None = None, **other: object
) -> bytes:
    """A frame of `count` predictions; labels run through 0..9, latencies from 100 us on."""
    start = seq * count if first_index is None else first_index
    made = [
        records.Prediction(
            index=start + i, mono_us=1_000_000 * seq + i, wall_us=0, label=(start + i) % 10,
            outputs=np.linspace(0, 0.9, 10, dtype=np.float32), latency_us=100 + i,
        )
        for i in range(count)
    ]  # fmt: skip
    body = records.encode_predictions(ORIGIN, made, scores=True)
    told = (seq + 1) * count if produced is None else produced
    return frame.seal(header(Lane.PREDICTIONS, seq, count, produced=told, **other), body)


def rows(lane: Lane, seq: int, entries: Sequence[records.Row], **other: object) -> bytes:
    """A frame of events or summaries."""
    return frame.seal(
        header(lane, seq, len(entries), produced=seq + len(entries), **other), records.encode_rows(entries)
    )

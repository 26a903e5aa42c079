"""From the bytes of one message to what its commit will write, or to why they cannot be used; no I/O.

A frame whose checksum fails has no header that could be trusted: it is kept aside and not acked, so that the device
sends it again. One that is whole but says nonsense is kept aside **and** acked: the same bytes would only come again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from sprat.hub.store.telemetry_values import (
    Anchor,
    DriftCounts,
    NewEvent,
    NewFrame,
    Rollup,
    ShadowHour,
    Spoiled,
)
from sprat.hub.telemetry import rollup
from sprat.hub.telemetry.timing import place
from sprat_device.contract import frame, records, shadow, summary
from sprat_device.contract.errors import ContractError
from sprat_device.contract.frame import Frame, FrameHeader
from sprat_device.contract.phases import Lane

UNREADABLE: Final = "unreadable"
UNKNOWN_VERSION: Final = "unknown-version"
BAD_BODY: Final = "bad-body"
_BOUND: Final = 2**61
"""Times, numbers and counters beyond this are nonsense, and would not fit the store's signed 64 bits."""

AnchorOf = Callable[[str, bytes], Anchor | None]


def read(device: str, raw: bytes, received_us: int, anchor_of: AnchorOf) -> NewFrame | Spoiled:
    """Read one message of `device`."""
    try:
        whole = frame.open_frame(raw)
        _require_sane(whole.header)
    except frame.UnknownFrameVersion as exc:
        return Spoiled(device, raw, received_us, UNKNOWN_VERSION, str(exc))
    except ContractError as exc:
        return Spoiled(device, raw, received_us, UNREADABLE, str(exc))
    anchor = place(whole.header, received_us, anchor_of(device, whole.header.boot_id))
    try:
        return _digest(device, whole, received_us, anchor)
    except ContractError as exc:
        return Spoiled(device, raw, received_us, BAD_BODY, str(exc), whole.header)


def _require_sane(header: FrameHeader) -> None:
    told = header.ledger
    numbers = (
        header.seq,
        header.mono_first_us,
        header.mono_last_us,
        told.produced,
        told.acked,
        told.evicted,
        told.damaged,
    )
    if max(numbers) >= _BOUND or max(abs(header.wall_first_us), abs(header.wall_last_us)) >= _BOUND:
        raise ContractError(f"frame {header.lane} seq {header.seq}: a number in its header is beyond 2^61")


def _digest(device: str, whole: Frame, received_us: int, anchor: Anchor) -> NewFrame:
    decoded = records.decode(whole.body, count=whole.header.count)
    if isinstance(decoded, records.PredictionColumns):
        if whole.header.lane is not Lane.PREDICTIONS:
            raise ContractError(f"frame {whole.header.lane}: holds predictions, which have a lane of their own")
        return _predictions(device, whole, received_us, anchor, decoded)
    return _rows(device, whole, received_us, anchor, decoded)


def _predictions(
    device: str, whole: Frame, received_us: int, anchor: Anchor, columns: records.PredictionColumns
) -> NewFrame:
    header = whole.header
    # A record's time lies between those of its frame, whatever it claims.
    earliest, latest = sorted((header.mono_first_us, header.mono_last_us))
    mono_us = np.clip(columns.mono_us, earliest, latest)
    return NewFrame(
        device, header, whole.raw, received_us, anchor, columns.origin.model, columns.origin.bundle,
        rollups=rollup.of_predictions(columns, np.maximum(mono_us + anchor.offset_us, 0)),
    )  # fmt: skip


def _rows(device: str, whole: Frame, received_us: int, anchor: Anchor, rows: tuple[records.Row, ...]) -> NewFrame:
    rollups: list[Rollup] = []
    drift: list[DriftCounts] = []
    events: list[NewEvent] = []
    health: list[NewEvent] = []
    shadows: list[ShadowHour] = []
    for row in rows:
        at_us = rollup.wall_time(row.mono_us, anchor.offset_us)
        if row.code == summary.CODE and whole.header.lane is Lane.SUMMARIES:
            rollup.require_known_bundle(row)
            minute, counts = rollup.of_summary(row, at_us)
            rollups.append(minute)
            drift.extend(counts)
        elif row.code == shadow.CODE and whole.header.lane is Lane.SUMMARIES:
            rollup.require_known_bundle(row)
            shadows.append(rollup.of_shadow(row, at_us))
        elif row.code == summary.HEALTH_CODE:
            health.append(rollup.event(row, at_us))
        elif whole.header.lane is not Lane.CAPTURES:  # a capture is an input to look at, no event
            events.append(rollup.event(row, at_us))
            rollups.extend(filter(None, [rollup.of_error(row, at_us)]))
    return NewFrame(
        device, whole.header, whole.raw, received_us, anchor, rows[0].model, rows[0].bundle,
        tuple(rollups), tuple(drift), tuple(events), tuple(health), tuple(shadows),
    )  # fmt: skip

"""From rows of `telemetry.db` to values: decoding, the choice of the fullest lane, sums over devices."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sprat.hub.store.telemetry_values import DriftRow, LedgerRow, MinuteRow, PredictionRow, Rollup, Tally, Timing
from sprat_device.contract import frame, records
from sprat_device.contract.phases import Lane
from sprat_device.contract.sketch import LogHistogram


def prediction_rows(row: sqlite3.Row) -> list[PredictionRow]:
    """Decode one stored frame of the predictions lane."""
    stored = frame.open_frame(row["raw"])
    columns = records.decode(stored.body, count=stored.header.count)
    if not isinstance(columns, records.PredictionColumns):
        return []  # a gap record: it stands in the events
    return [
        PredictionRow(
            frame=row["id"], device=row["device"], epoch=row["epoch"], seq=row["seq"], model=columns.origin.model,
            bundle=columns.origin.bundle, release_seq=columns.origin.release_seq, index=index, label=label,
            confidence=max(outputs) if label != records.NO_LABEL else None, latency_us=latency_us,
            wall_us=mono_us + row["offset_us"], timing=Timing(row["timing"]),
        )
        for index, label, outputs, latency_us, mono_us in zip(
            columns.index.tolist(), columns.label.tolist(), columns.outputs.tolist(),
            columns.latency_us.tolist(), columns.mono_us.tolist(), strict=True,
        )
    ]  # fmt: skip


def ledger_row(row: sqlite3.Row, ranges: Sequence[tuple[int, int]]) -> LedgerRow:
    """Make the ledger of one lane in one epoch."""
    return LedgerRow(
        device=row["device"], epoch=row["epoch"], lane=Lane(row["lane"]), produced=row["produced"],
        stored=row["stored"], quarantined=row["quarantined"], evicted=row["evicted"], damaged=row["damaged"],
        conflicts=row["conflicts"], duplicates=row["duplicates"], frames=row["frames"], last_seq=row["last_seq"], updated_us=row["updated_us"],
        ranges=tuple(sorted(ranges)),
    )  # fmt: skip


def rollup(row: sqlite3.Row) -> Rollup:
    """Read one stored rollup."""
    return Rollup(
        bundle=row["bundle"], model=row["model"], minute_us=row["minute_us"], lane=Lane(row["lane"]),
        release_seq=row["release_seq"], predictions=row["predictions"], errors=row["errors"],
        classes=dict(json.loads(row["classes"])),
        latency=LogHistogram.parse(json.loads(row["latency"])),
        confidence=LogHistogram.parse(json.loads(row["confidence"])),
    )  # fmt: skip


def minute_rows(rows: Sequence[sqlite3.Row]) -> tuple[MinuteRow, ...]:
    """Sum rollups over devices, by minute and bundle, each device by its fullest lanes."""
    chosen = _fullest(rows)
    sums: dict[tuple[int, str], Rollup] = {}
    for row in rows:
        for_predictions, for_errors = chosen[row["device"], row["bundle"]]
        part = rollup(row)
        if row["lane"] != for_predictions:
            part = replace(part, predictions=0, classes={}, latency=LogHistogram(), confidence=LogHistogram())
        if row["lane"] != for_errors:
            part = replace(part, errors=0)
        if (key := (part.minute_us, part.bundle)) in sums:
            sums[key].merge(part)
        elif part.predictions or part.errors:
            sums[key] = part
    return tuple(
        MinuteRow(
            minute_us=r.minute_us, bundle=r.bundle, model=r.model, predictions=r.predictions, errors=r.errors,
            classes=r.classes, latency=r.latency, confidence=r.confidence,
        )
        for _, r in sorted(sums.items())
    )  # fmt: skip


def tallies(rows: Sequence[sqlite3.Row]) -> tuple[Tally, ...]:
    """Make one tally for each device and bundle, by its fullest lanes."""
    lanes: dict[tuple[str, str], list[sqlite3.Row]] = defaultdict(list)
    for row in rows:
        lanes[row["device"], row["bundle"]].append(row)
    return tuple(
        Tally(
            device=device, bundle=bundle, model=found[0]["model"],
            release_seq=max(row["release_seq"] for row in found),
            predictions=max(row["predictions"] for row in found),
            errors=max(row["errors"] for row in found),
            first_minute_us=min(row["first_minute_us"] for row in found),
            last_minute_us=max(row["last_minute_us"] for row in found),
        )
        for (device, bundle), found in sorted(lanes.items())
    )  # fmt: skip


def drift_rows(rows: Iterable[sqlite3.Row]) -> tuple[DriftRow, ...]:
    """Sum drift counts over devices; counts of another length than the first (other edges) are left out."""
    sums: dict[tuple[int, str, str], list[int]] = {}
    for row in rows:
        counts = json.loads(row["counts"])
        total = sums.setdefault((row["hour_us"], row["bundle"], row["feature"]), [0] * len(counts))
        if len(total) == len(counts):
            total[:] = [a + b for a, b in zip(total, counts, strict=True)]
    return tuple(DriftRow(hour, bundle, feature, tuple(sums[hour, bundle, feature])) for hour, bundle, feature in sums)


def _fullest(rows: Sequence[sqlite3.Row]) -> dict[tuple[str, str], tuple[str, str]]:
    """Choose, for each device and bundle, the lane that counts its predictions and the one that counts its errors."""
    sums: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(dict)
    for row in rows:
        both = sums[row["device"], row["bundle"]].setdefault(row["lane"], [0, 0])
        both[0] += row["predictions"]
        both[1] += row["errors"]
    return {key: (_lane_with_most(lanes, 0), _lane_with_most(lanes, 1)) for key, lanes in sums.items()}


def _lane_with_most(lanes: dict[str, list[int]], column: int) -> str:
    return max(sorted(lanes), key=lambda lane: lanes[lane][column])  # equal: "predictions" before "summaries"

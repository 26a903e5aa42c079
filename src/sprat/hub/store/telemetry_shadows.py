"""What shadows showed, by hour, device and pair of bundles; summed as frames are committed, and read summed over devices."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from sprat.hub.store.telemetry_values import ShadowHour
from sprat_device.contract import shadow
from sprat_device.contract.shadow import ShadowSummary

_MOST: Final = 2**53
"""Of a sum; a device's own counts are bounded lower."""


def write_shadows(db: sqlite3.Connection, parts: Iterable[tuple[str, ShadowHour]]) -> None:
    """Add what the frames of a batch tell to what is stored."""
    for device, part in parts:
        key = (device, part.bundle, part.told.shadow, part.hour_us)
        row = db.execute(
            "SELECT detail FROM shadows WHERE device = ? AND bundle = ? AND shadow = ? AND hour_us = ?", key
        ).fetchone()
        total = part.told if row is None else _read(row["detail"]).plus(part.told)
        db.execute(
            "INSERT OR REPLACE INTO shadows VALUES (?, ?, ?, ?, ?, ?)", (*key, part.model, json.dumps(total.detail()))
        )


def read_shadows(
    db: sqlite3.Connection, *, shadow_bundle: str, since_us: int = 0, device: str = ""
) -> tuple[ShadowHour, ...]:
    """Return what a bundle showed as a shadow, by active bundle and hour, the oldest first."""
    rows = db.execute(
        "SELECT * FROM shadows WHERE shadow = ? AND hour_us >= ? AND (? = '' OR device = ?) ORDER BY hour_us, bundle",
        (shadow_bundle, since_us, device, device),
    )
    summed: dict[tuple[str, int], ShadowHour] = {}
    for row in rows:
        key, told = (row["bundle"], row["hour_us"]), _read(row["detail"])
        before = summed.get(key)
        summed[key] = ShadowHour(*key[:1], row["model"], key[1], told if before is None else before.told.plus(told))
    return tuple(summed.values())


def _read(detail: str) -> ShadowSummary:
    return shadow.parse(json.loads(detail), most=_MOST)

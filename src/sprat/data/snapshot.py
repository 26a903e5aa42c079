"""Snapshots: a data set under the hash of its content, so that a build can say exactly what it learned from.

`DATA_DIR/<sha256>.npz` holds the columns, `DATA_DIR/<sha256>.json` what people want to know (name, source, when).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sprat.data.table import Table, read_table, write_atomic, write_table
from sprat.errors import WrongUse

_MIN_PREFIX: Final = 6


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What stands beside the columns of one snapshot; `added_at` is ISO 8601 in UTC."""

    sha256: str
    name: str
    source: str
    added_at: str
    rows: int
    columns: Mapping[str, str]


def content_digest(table: Table) -> str:
    """Return the SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(table):
        column = np.ascontiguousarray(table[name])
        digest.update(json.dumps([name, column.dtype.str, list(column.shape)]).encode())
        digest.update(column.tobytes())
    return digest.hexdigest()


def add(folder: Path, table: Table, *, name: str, source: str, added_at: str) -> Snapshot:
    """Keep a table; the same content added again only takes the new name."""
    columns = {key: f"{column.dtype} {list(column.shape[1:]) or ''}".strip() for key, column in sorted(table.items())}
    rows = len(next(iter(table.values())))
    snapshot = Snapshot(content_digest(table), name, source, added_at, rows, columns)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / f"{snapshot.sha256}.npz", table)
    write_atomic(folder / f"{snapshot.sha256}.json", json.dumps(asdict(snapshot), indent=1).encode())
    return snapshot


def every(folder: Path) -> list[Snapshot]:
    """Return all snapshots, the newest first."""
    found = [Snapshot(**json.loads(path.read_text("utf-8"))) for path in folder.glob("*.json")]
    return sorted(found, key=lambda snapshot: (snapshot.added_at, snapshot.sha256), reverse=True)


def find(folder: Path, wanted: str) -> Snapshot:
    """Return the snapshot with this name (the newest) or hash prefix, or raise WrongUse."""
    for snapshot in every(folder):
        if snapshot.name == wanted or (len(wanted) >= _MIN_PREFIX and snapshot.sha256.startswith(wanted)):
            return snapshot
    known = ", ".join(sorted({snapshot.name for snapshot in every(folder)})) or "none"
    raise WrongUse(f"snapshot {wanted!r} is not in {folder}; known: {known}; add one with `sprat data add FILE`")


def load(folder: Path, snapshot: Snapshot) -> Table:
    """Read the columns and compare their hash with the name, or raise WrongUse."""
    path = folder / f"{snapshot.sha256}.npz"
    table = read_table(path)
    if content_digest(table) != snapshot.sha256:
        raise WrongUse(f"snapshot {path}: its content does not have the hash of its name; add the data again")
    return table

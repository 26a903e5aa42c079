"""Snapshots: a data set under the hash of its content, so that a build can say exactly what it learned from.

`DATA_DIR/snapshots/<sha256>.json` says which columns it has and what people want to know (name, source, when);
`DATA_DIR/columns/` holds the columns, each once. The snapshot is written last: one that stands is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sprat.data import columns
from sprat.data.table import Table, write_atomic
from sprat.errors import WrongUse

SCHEMA: Final = "sprat.snapshot/1"
_MIN_PREFIX: Final = 6


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What stands beside the columns of one snapshot; times are ISO 8601 in UTC.

    `first_added_at` is when this very content first came: adding it again does not make it younger.
    """

    sha256: str
    name: str
    source: str
    added_at: str
    first_added_at: str
    rows: int
    columns: Mapping[str, str]
    """Name of each column -> what it holds, for people."""
    parts: Mapping[str, str]
    """Name of each column -> its digest in the store."""


def content_digest(table: Table) -> str:
    """Return the SHA-256 over names, types, shapes and values."""
    return _digest({name: columns.digest(table[name]) for name in table})


def add(folder: Path, table: Table, *, name: str, source: str, added_at: str) -> Snapshot:
    """Keep a table; the same content added again takes the new name, and a column that is known takes no room."""
    parts = {key: columns.keep(_columns(folder), column) for key, column in sorted(table.items())}
    sha256 = _digest(parts)
    path = _path(folder, sha256)
    made = Snapshot(
        sha256=sha256,
        name=name,
        source=source,
        added_at=added_at,
        first_added_at=_read(path).first_added_at if path.exists() else added_at,
        rows=len(next(iter(table.values()))),
        columns={
            key: f"{column.dtype} {list(column.shape[1:]) or ''}".strip() for key, column in sorted(table.items())
        },
        parts=parts,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"schema": SCHEMA, **asdict(made)}, indent=1).encode())
    return made


def every(folder: Path) -> list[Snapshot]:
    """Return all snapshots, the newest first."""
    found = [_read(path) for path in (folder / "snapshots").glob("*.json")]
    return sorted(found, key=lambda snapshot: (snapshot.added_at, snapshot.sha256), reverse=True)


def find(folder: Path, wanted: str) -> Snapshot:
    """Return the snapshot with this name (the newest) or hash prefix, or raise WrongUse."""
    known = every(folder)
    for snapshot in known:
        if snapshot.name == wanted or (len(wanted) >= _MIN_PREFIX and snapshot.sha256.startswith(wanted)):
            return snapshot
    names = ", ".join(sorted({snapshot.name for snapshot in known})) or "none"
    raise WrongUse(f"snapshot {wanted!r} is not in {folder}; known: {names}; add one with `sprat data add FILE`")


def load(folder: Path, snapshot: Snapshot) -> Table:
    """Map the columns into memory, each compared with its hash, or raise WrongUse; they are read-only."""
    if _digest(snapshot.parts) != snapshot.sha256:
        raise WrongUse(
            f"snapshot {_path(folder, snapshot.sha256)}: its columns do not have the hash of its name; add the data again"
        )
    return {name: columns.read(_columns(folder), digest) for name, digest in snapshot.parts.items()}


def _digest(parts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()


def _path(folder: Path, sha256: str) -> Path:
    return folder / "snapshots" / f"{sha256}.json"


def _columns(folder: Path) -> Path:
    return folder / "columns"


def _read(path: Path) -> Snapshot:
    """Read what stands beside the columns; every word of it is checked, for a person may have touched the file."""
    try:
        return _parse(json.loads(path.read_text("utf-8")), path.stem)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise WrongUse(f"snapshot {path}: cannot be read ({exc}); remove the file and add the data again") from exc


def _parse(raw: dict[str, Any], sha256: str) -> Snapshot:
    if raw.pop("schema") != SCHEMA or raw["sha256"] != sha256:
        raise ValueError("its schema or its name is another")
    made = Snapshot(**raw)
    texts = (made.name, made.source, made.added_at, made.first_added_at, *made.parts.values(), *made.columns.values())
    if not all(isinstance(text, str) for text in texts) or any("/" in part for part in made.parts.values()):
        raise ValueError("a field is of another kind")
    return made

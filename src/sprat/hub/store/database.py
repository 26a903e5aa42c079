"""One SQLite file: a single writer behind a lock, many readers, and a version for each schema that lives in it.

WAL with `synchronous=FULL`: what a transaction committed survives a power cut. A nested `transaction()` of the same
thread joins the outer one, so a duty may call another and both commit or neither does.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from sprat.errors import MachineLacks, SpratError

_BUSY_MS: Final = 10_000
_OF_THE_DISK: Final = frozenset({"FULL", "IOERR", "READONLY", "CANTOPEN"})
_VERSIONS: Final = "CREATE TABLE IF NOT EXISTS schema_versions (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT"


class NewerSchema(SpratError):
    """The file was written by a later version of Sprat: upgrade this one."""

    exit_code = 4


class Database:
    """An open SQLite file; `transaction()` writes, `connection()` reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._writer = _connect(path)
        with _disk_errors(path):
            self._writer.execute(_VERSIONS)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the one writing connection: commits at the end, undoes everything on an error."""
        with self._lock, _disk_errors(self.path):
            if self._depth == 0:
                self._writer.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._writer
            except BaseException:
                self._depth -= 1
                if self._depth == 0 and self._writer.in_transaction:  # a full disk may have rolled back already
                    self._writer.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._writer.execute("COMMIT")

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a read-only connection that sees the last commit."""
        try:
            reader = self._readers.get_nowait()
        except queue.Empty:
            reader = _connect(self.path)
            reader.execute("PRAGMA query_only = ON")
        try:
            yield reader
        finally:
            self._readers.put(reader)

    def migrate(self, name: str, steps: Sequence[str]) -> None:
        """Bring the schema `name` to version `len(steps)`; each step is SQL that leads from one version to the next."""
        with self._lock:
            row = self._writer.execute("SELECT version FROM schema_versions WHERE name = ?", (name,)).fetchone()
            done = row["version"] if row else 0
            if done > len(steps):
                raise NewerSchema(
                    f"{self.path}: schema {name} is version {done}, this Sprat knows {len(steps)}; upgrade Sprat"
                )
            for version, step in enumerate(steps[done:], start=done + 1):
                self._apply(name, version, step)

    def _apply(self, name: str, version: int, step: str) -> None:
        # executescript() commits on its own, so the transaction is part of the script.
        record = f"INSERT OR REPLACE INTO schema_versions VALUES ('{name}', {version});"  # noqa: S608 - our own names
        with _disk_errors(self.path):
            try:
                self._writer.executescript(f"BEGIN IMMEDIATE;\n{step}\n;{record}\nCOMMIT;")
            except sqlite3.Error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the writer and the readers that are not lent out."""
        with self._lock:
            self._writer.close()
        while not self._readers.empty():
            self._readers.get_nowait().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Say of a disk that refuses to be written what it is: the machine's lack, not a fault of ours."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        # Errors that Python's own module raises carry no name of SQLite's.
        if getattr(exc, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0] in _OF_THE_DISK:
            raise MachineLacks(f"database {path}: {exc}; check the free space and the rights of its folder") from exc
        raise


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # Lent to one thread at a time; the lock and the queue see to that.
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        database.row_factory = sqlite3.Row
        database.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as exc:
        raise MachineLacks(f"database {path}: {exc}; check the folder, its rights and the free space") from exc
    return database

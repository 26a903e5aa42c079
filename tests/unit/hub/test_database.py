"""The store under the hub: all or nothing, readers beside the writer, versions."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from sprat.errors import MachineLacks
from sprat.hub.store.database import Database, NewerSchema
from sprat.hub.store.fleet import FleetStore

ONE = "CREATE TABLE one (a INTEGER) STRICT"
TWO = "ALTER TABLE one ADD COLUMN b INTEGER"


def count(database: Database) -> int:
    with database.connection() as db:
        return int(db.execute("SELECT count(*) FROM one").fetchone()[0])


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "a.db")
    made.migrate("test", (ONE,))
    return made


def test_a_failing_transaction_leaves_nothing(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError), database.transaction() as db:
        db.executemany("INSERT INTO one VALUES (?)", [(1,), (2,)]).execute("nonsense")
    assert count(database) == 0
    database.close()


def test_an_inner_transaction_shares_the_fate_of_the_outer(database: Database) -> None:
    def insert() -> None:
        with database.transaction() as db:
            db.execute("INSERT INTO one VALUES (1)")

    def insert_and_fail() -> None:
        insert()
        raise RuntimeError

    with pytest.raises(RuntimeError), database.transaction():
        insert_and_fail()
    assert count(database) == 0
    insert()
    assert count(database) == 1
    database.close()


def test_a_reader_sees_the_last_commit_while_another_thread_writes(database: Database) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with database.transaction() as db:
            db.execute("INSERT INTO one VALUES (1)")
            inside.set()
            assert go_on.wait(60)

    thread = threading.Thread(target=write)
    thread.start()
    assert inside.wait(60)
    assert count(database) == 0
    go_on.set()
    thread.join()
    assert count(database) == 1
    database.close()


def test_readers_cannot_write(database: Database) -> None:
    with database.connection() as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("INSERT INTO one VALUES (1)")
    database.close()


def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    for _ in range(2):
        with Database(tmp_path / "a.db") as database:
            database.migrate("test", (ONE, TWO))
            with database.transaction() as db:
                db.execute("INSERT INTO one (a, b) VALUES (1, 2)")
    with Database(tmp_path / "a.db") as database:
        assert count(database) == 2


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path) -> None:
    with Database(tmp_path / "a.db") as database:
        with pytest.raises(sqlite3.OperationalError):
            database.migrate("test", (ONE, "CREATE TABLE two (a INTEGER); CREATE TABLE two (a INTEGER)"))
        database.migrate("test", (ONE, "CREATE TABLE two (a INTEGER)"))
        assert count(database) == 0


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with Database(tmp_path / "a.db") as database:
        database.migrate("test", (ONE, TWO))
    with Database(tmp_path / "a.db") as database, pytest.raises(NewerSchema, match="upgrade Sprat"):
        database.migrate("test", (ONE,))


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MachineLacks, match=r"database .*a\.db"):
        Database(tmp_path / "no" / "a.db")


def test_the_audit_log_only_grows(tmp_path: Path) -> None:
    with FleetStore(tmp_path / "fleet.db") as store:
        store.audit.add("ann", "device.revoke", "d1", 5, {"why": "lost"})
        for statement in ("UPDATE audit SET who = 'bob'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"), store.transaction() as db:
                db.execute(statement)
        assert [(e.who, dict(e.detail)) for e in store.audit.latest()] == [("ann", {"why": "lost"})]


def test_the_incarnation_stays_with_the_file(tmp_path: Path) -> None:
    with FleetStore(tmp_path / "a.db") as store:
        first = store.incarnation()
    with FleetStore(tmp_path / "a.db") as store, FleetStore(tmp_path / "b.db") as other:
        assert store.incarnation() == first
        assert other.incarnation() != first


def test_a_full_disk_is_the_machines_lack_and_undoes_the_transaction(database: Database) -> None:
    with database.transaction() as db:
        db.execute("PRAGMA max_page_count = 8")
    with pytest.raises(MachineLacks, match="disk is full; check the free space"), database.transaction() as db:
        db.executemany("INSERT INTO one VALUES (?)", ((i,) for i in range(100_000)))
    assert count(database) == 0
    with database.transaction() as db:
        db.execute("INSERT INTO one VALUES (1)")
    assert count(database) == 1

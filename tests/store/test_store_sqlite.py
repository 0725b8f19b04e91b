import multiprocessing
import os
import signal
import sqlite3
import stat
import threading
import time

import pytest
from sqlalchemy import delete, func, insert, select, text

from entrepot.errors import StoreUnavailable
from entrepot.store import schema, sqlite
from entrepot.store.engine import open_database
from entrepot.store.ledger import holds

fresh_process = multiprocessing.get_context("spawn")


def hold(number):
    return {"upstream": f"erp-{number}", "reason": "maintenance", "detail": "x" * 1000, "since": 1.0}


def pragmas(database, *names):
    with database.reading() as session:
        return {name: session.execute(text(f"PRAGMA {name}")).scalar() for name in names}


def test_the_database_and_its_files_are_readable_by_their_owner_alone(on_sqlite, tmp_path):
    with on_sqlite.writing() as connection:
        connection.execute(insert(holds), [hold(1)])

    files = sorted((tmp_path / "store").iterdir())

    assert [file.name for file in files] == ["entrepot.db", "entrepot.db-shm", "entrepot.db-wal", "entrepot.db.turns"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_a_database_that_others_can_read_is_closed_to_them(on_sqlite, sqlite_url, tmp_path):
    (tmp_path / "store/entrepot.db").chmod(0o644)

    open_database(sqlite_url).close()

    assert stat.S_IMODE((tmp_path / "store/entrepot.db").stat().st_mode) == 0o600


def test_a_directory_that_anyone_may_write_to_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    with pytest.raises(StoreUnavailable, match="chmod o-w"):
        open_database(f"sqlite:///{tmp_path}/open/entrepot.db")


def test_every_connection_syncs_its_commits_and_keeps_foreign_keys(on_sqlite):
    found = pragmas(on_sqlite, "journal_mode", "synchronous", "foreign_keys")

    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_file_that_is_no_database_is_an_outage(tmp_path):
    (tmp_path / "entrepot.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(StoreUnavailable, match="not a database"):
        open_database(f"sqlite:///{tmp_path}/entrepot.db")


def test_a_path_that_cannot_be_made_is_an_outage(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        open_database(f"sqlite:///{tmp_path}/file/entrepot.db")


def test_a_database_that_another_program_locks_is_an_outage_for_writers_and_none_for_readers(
    on_sqlite, sqlite_url, tmp_path
):
    impatient = open_database(sqlite_url, busy_timeout_s=0.02)
    other = sqlite3.connect(tmp_path / "store/entrepot.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreUnavailable, match="locked"), impatient.writing():
            pass
        with impatient.reading() as session:
            assert session.execute(select(holds)).all() == []
    finally:
        other.close()
        impatient.close()


def test_a_database_that_came_back_serves_again(on_sqlite, tmp_path):
    (tmp_path / "store").rename(tmp_path / "away")
    on_sqlite.engine.dispose()
    with pytest.raises(StoreUnavailable):
        schema.status(on_sqlite)

    (tmp_path / "away").rename(tmp_path / "store")

    assert schema.status(on_sqlite).pending == ()


def test_space_is_given_back_in_steps(on_sqlite):
    with on_sqlite.writing() as connection:
        connection.execute(insert(holds), [hold(number) for number in range(1000)])
    with on_sqlite.writing() as connection:
        connection.execute(delete(holds))
    pages = pragmas(on_sqlite, "page_count")["page_count"]

    given = [on_sqlite.give_back(100), on_sqlite.give_back(100_000), on_sqlite.give_back(100)]

    assert pragmas(on_sqlite, "auto_vacuum") == {"auto_vacuum": 2}
    assert pragmas(on_sqlite, "page_count")["page_count"] == pages - sum(given)
    assert given[0] == 100
    assert given[1] > 100
    assert given[2] == 0


def read_without_end(url, ready, stop, overlap_s):
    database = open_database(url)

    def read():
        while not stop.is_set():
            with database.reading() as session:
                session.execute(select(func.count()).select_from(holds)).one()
                ready.set()
                time.sleep(overlap_s)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()


@pytest.mark.slow
def test_readers_who_overlap_without_end_do_not_make_the_log_grow_without_end(
    on_sqlite, sqlite_url, tmp_path, monkeypatch
):
    monkeypatch.setattr(sqlite, "WAL_MOST_BYTES", 1 << 20)
    database = open_database(sqlite_url)
    ready, stop = fresh_process.Event(), fresh_process.Event()
    reader = fresh_process.Process(target=read_without_end, args=(sqlite_url, ready, stop, 0.005))
    reader.start()
    sizes = []
    try:
        assert ready.wait(60)
        for step in range(60):
            with database.writing() as connection:
                connection.execute(insert(holds), [hold(1000 * step + number) for number in range(100)])
            sizes.append((tmp_path / "store/entrepot.db-wal").stat().st_size)
    finally:
        stop.set()
        reader.join()
        database.close()

    assert max(sizes) < 5 << 20


def write_often(url, start, seconds, told):
    database = open_database(url)
    told.put(None)
    start.wait()
    took = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        with database.writing() as connection:
            connection.execute(text("UPDATE holds SET since = since + 1 WHERE upstream = 'erp-1'"))
        took.append(time.monotonic() - begun)
    told.put(took)
    database.close()


@pytest.mark.alone
def test_writers_of_several_processes_take_turns(on_sqlite, sqlite_url):
    with on_sqlite.writing() as connection:
        connection.execute(insert(holds), [hold(1)])

    # What is kept from the processor meanwhile has its turn later: that says nothing of the turns.
    count, are_fair = 0, False
    while not are_fair and count < 3:
        count += 1
        took = written_at_once(on_sqlite, sqlite_url)
        counts = [len(each) for each in took]
        are_fair = max(counts) < 1.2 * min(counts) and max(map(max, took)) < 0.25

    assert are_fair, (counts, max(map(max, took)))


def written_at_once(on_sqlite, sqlite_url):
    """Return what each change took that three processes made at once, in seconds; none is lost."""

    def total():
        with on_sqlite.reading() as session:
            return session.execute(select(holds.c.since)).scalar_one()

    before = total()
    start, told = fresh_process.Event(), fresh_process.Queue()
    writers = [fresh_process.Process(target=write_often, args=(sqlite_url, start, 1.5, told)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for _ in writers:
        told.get(timeout=60)

    start.set()
    took = [told.get(timeout=60) for _ in writers]

    for writer in writers:
        writer.join()
    assert total() == before + sum(map(len, took))
    return took


STANDS_S = 60


def stand_in_the_way(url, inside):
    database = open_database(url)
    with database.writing():
        inside.set()
        time.sleep(STANDS_S)


@pytest.fixture
def in_the_way(on_sqlite, sqlite_url):
    """A process that holds the right to write."""
    inside = fresh_process.Event()
    process = fresh_process.Process(target=stand_in_the_way, args=(sqlite_url, inside))
    process.start()
    assert inside.wait(60)
    yield process
    process.kill()
    process.join()


def test_a_writer_that_was_stopped_is_an_outage_and_no_hang(in_the_way, sqlite_url):
    os.kill(in_the_way.pid, signal.SIGSTOP)
    database = open_database(sqlite_url, busy_timeout_s=0.2)
    begun = time.monotonic()

    with pytest.raises(StoreUnavailable, match="locked"), database.writing():
        pass
    database.close()

    assert time.monotonic() - begun < STANDS_S / 2


def test_a_writer_that_was_killed_holds_up_nobody(in_the_way, on_sqlite):
    threading.Timer(0.1, in_the_way.kill).start()
    begun = time.monotonic()

    with on_sqlite.writing() as connection:
        connection.execute(insert(holds), [hold(1)])

    assert time.monotonic() - begun < STANDS_S / 2

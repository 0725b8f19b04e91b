import signal
import threading
import time

import psycopg
import pytest
from sqlalchemy import insert, make_url, select, text

from entrepot.errors import StoreUnavailable
from entrepot.store import schema
from entrepot.store.engine import open_database
from entrepot.store.ledger import holds
from postgres import server

pytestmark = pytest.mark.postgres

HOLD = {"upstream": "erp", "reason": "maintenance", "detail": "", "since": 1.0}


def setting(database, name):
    with database.reading() as session:
        return session.execute(text(f"SHOW {name}")).scalar_one()


def test_every_connection_syncs_its_commits_and_waits_as_long_as_it_may(on_postgresql):
    names = ("synchronous_commit", "lock_timeout", "statement_timeout", "transaction_isolation")

    assert [setting(on_postgresql, name) for name in names] == ["on", "5s", "5s", "repeatable read"]


def test_an_outage_at_the_commit_says_that_something_may_have_been_written(on_postgresql, postgresql):
    def write_and_lose_the_server():
        with on_postgresql.writing() as connection:
            connection.execute(insert(holds), [HOLD])
            mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            postgresql.do(f"SELECT pg_terminate_backend({mine}, 5000)")

    with pytest.raises(StoreUnavailable) as caught:
        write_and_lose_the_server()

    assert caught.value.applied is None


def test_a_server_that_does_not_sync_commits_is_told_to(postgresql, postgresql_url):
    postgresql.do(f"ALTER DATABASE {make_url(postgresql_url).database} SET synchronous_commit = off")
    database = open_database(postgresql_url)

    assert setting(database, "synchronous_commit") == "on"
    database.close()


def test_a_server_that_waits_for_its_copies_goes_on_to(postgresql, postgresql_url):
    postgresql.do(f"ALTER DATABASE {make_url(postgresql_url).database} SET synchronous_commit = remote_apply")
    database = open_database(postgresql_url)

    assert setting(database, "synchronous_commit") == "remote_apply"
    database.close()


def test_a_url_without_a_driver_means_psycopg(postgresql_url):
    database = open_database(postgresql_url.replace("+psycopg", ""))

    schema.prepare(database)

    assert schema.status(database).pending == ()
    database.close()


def test_a_database_that_is_not_there_is_an_outage_without_its_password(postgresql_url):
    url = make_url(postgresql_url).set(database="absent", password="s3cret")

    with pytest.raises(StoreUnavailable, match="absent") as refused:
        open_database(url.render_as_string(hide_password=False))

    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_server_that_nobody_runs_is_an_outage(tmp_path):
    with pytest.raises(StoreUnavailable, match="No such file"):
        open_database(f"postgresql+psycopg://entrepot@/entrepot?host={tmp_path}")


def test_a_database_in_another_encoding_is_refused(postgresql):
    url = postgresql.create("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")

    with pytest.raises(StoreUnavailable, match="LATIN1; make one in UTF8"):
        open_database(url)
    postgresql.drop(url)


def test_tables_that_belong_to_another_are_an_outage(postgresql, postgresql_url, on_postgresql):
    name = make_url(postgresql_url).database
    postgresql.do("CREATE ROLE stranger LOGIN")
    stranger = open_database(postgresql_url.replace("entrepot@", "stranger@"))

    with pytest.raises(StoreUnavailable, match="permission denied"), stranger.writing() as connection:
        connection.execute(insert(holds), [HOLD])
    stranger.close()

    postgresql.do(f"REVOKE ALL ON DATABASE {name} FROM stranger")
    postgresql.do("DROP ROLE stranger")


def test_a_writer_that_does_nothing_loses_the_right_to_write(on_postgresql, postgresql_url):
    idle = open_database(postgresql_url, busy_timeout_s=1.0)

    def sleep():
        with idle.writing() as connection:
            connection.execute(insert(holds), [HOLD])
            time.sleep(3.0)
            connection.execute(select(holds)).all()

    with pytest.raises(StoreUnavailable):
        sleep()
    with on_postgresql.writing() as connection:
        connection.execute(insert(holds), [HOLD])

    with idle.writing() as connection:
        assert len(connection.execute(select(holds)).all()) == 1
    idle.close()


def test_a_statement_that_takes_too_long_is_broken_off(on_postgresql, postgresql_url):
    database = open_database(postgresql_url, busy_timeout_s=1.0)

    with pytest.raises(StoreUnavailable, match="statement timeout"), database.reading() as session:
        session.execute(text("SELECT pg_sleep(10)"))
    with database.migrating() as connection:
        connection.execute(text("SELECT pg_sleep(1.5)"))
    database.close()


def test_no_more_connections_than_planned_are_opened_and_the_next_waits(postgresql_url):
    database = open_database(postgresql_url, busy_timeout_s=1.0)
    connections = [database.engine.connect() for _ in range(8)]

    with pytest.raises(StoreUnavailable, match="all connections"), database.reading() as session:
        session.execute(text("SELECT 1"))

    for connection in connections:
        connection.close()
    database.close()


def test_writers_of_several_connections_lose_nothing(on_postgresql):
    with on_postgresql.writing() as connection:
        connection.execute(insert(holds), [HOLD])

    def add():
        for _ in range(50):
            with on_postgresql.writing() as connection:
                since = connection.execute(select(holds.c.since)).scalar_one()
                connection.execute(holds.update().values(since=since + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with on_postgresql.reading() as session:
        assert session.execute(select(holds.c.since)).scalar_one() == 201


def test_a_session_that_the_server_ended_is_replaced_unseen(postgresql, on_postgresql):
    name = make_url(str(on_postgresql.url)).database
    postgresql.do(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    with on_postgresql.writing() as connection:
        connection.execute(insert(holds), [HOLD])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_server_that_went_away_and_came_back_has_what_was_committed(how):
    with server(sync=True) as own:
        database = open_database(own.create(), busy_timeout_s=1)
        schema.prepare(database)
        with database.writing() as connection:
            connection.execute(insert(holds), [HOLD])

        own.stop(how)
        with pytest.raises(StoreUnavailable), database.writing() as connection:
            connection.execute(insert(holds), [HOLD | {"upstream": "other"}])
        own.start()

        with database.writing() as connection:
            assert connection.execute(select(holds.c.upstream)).scalars().all() == ["erp"]
        database.close()


def test_a_server_that_goes_away_in_mid_transaction_is_an_outage():
    with server() as own:
        database = open_database(own.create(), busy_timeout_s=1)
        schema.prepare(database)

        def write():
            with database.writing() as connection:
                connection.execute(insert(holds), [HOLD])
                own.stop()

        with pytest.raises(StoreUnavailable):
            write()
        database.close()


def test_the_right_to_write_is_one_lock_of_the_whole_database(on_postgresql, postgresql_url):
    url = make_url(postgresql_url)
    outsider = psycopg.connect(host=url.query["host"], user=url.username, dbname=url.database)

    with outsider, on_postgresql.writing():
        mode = outsider.execute("SELECT mode FROM pg_locks WHERE locktype = 'advisory'").fetchall()

    assert mode == [("ExclusiveLock",)]

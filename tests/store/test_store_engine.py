import sqlite3
import stat
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.store import engine, schema
from entrepot.store.engine import open_database
from entrepot.store.identity import Token

MOMENT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def token(jti="a", **values):
    fields = {"client": "shop", "partner": "acme", "scopes": "orders", "kid": "k", "issued_by": "test"}
    return Token(**(fields | {"jti": jti, "issued_at": MOMENT, "expires_at": MOMENT} | values))


def test_the_database_and_its_log_are_readable_by_their_owner_alone(database, tmp_path):
    with database.transaction() as session:
        session.add(token())

    files = sorted((tmp_path / "store").iterdir())

    assert [file.name for file in files] == ["entrepot.db", "entrepot.db-shm", "entrepot.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_a_database_that_others_can_read_is_closed_to_them(database, url, tmp_path):
    (tmp_path / "store/entrepot.db").chmod(0o644)

    open_database(url).close()

    assert stat.S_IMODE((tmp_path / "store/entrepot.db").stat().st_mode) == 0o600


def test_a_directory_that_anyone_may_write_to_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    with pytest.raises(StoreUnavailable, match="chmod o-w"):
        open_database(f"sqlite:///{tmp_path}/open/entrepot.db")


def test_every_connection_syncs_its_commits_and_keeps_foreign_keys(database):
    with database.reading() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///relative.db", "postgresql://host/db", "no url", "sqlite:///:memory:"]
)
def test_a_url_that_is_no_file_of_sqlite_is_refused(url):
    with pytest.raises(SettingsError):
        open_database(url)


def test_a_transaction_that_raises_leaves_nothing(database):
    def break_off():
        with database.transaction() as session:
            session.add(token())
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()

    with database.reading() as session:
        assert session.scalars(select(Token)).all() == []


def test_a_broken_rule_of_the_schema_is_no_outage(database):
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.add_all([token(), token()])


def test_a_file_that_is_no_database_is_an_outage(tmp_path):
    (tmp_path / "entrepot.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(StoreUnavailable, match="not a database"):
        open_database(f"sqlite:///{tmp_path}/entrepot.db")


def test_a_path_that_cannot_be_made_is_an_outage(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        open_database(f"sqlite:///{tmp_path}/file/entrepot.db")


def test_a_locked_database_is_an_outage_for_writers_and_none_for_readers(database, url, tmp_path):
    impatient = open_database(url, busy_timeout_s=0.02)
    other = sqlite3.connect(tmp_path / "store/entrepot.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreUnavailable, match="locked") as refused, impatient.transaction() as session:
            session.add(token())
        with impatient.reading() as session:
            assert session.scalars(select(Token)).all() == []
    finally:
        other.close()
        impatient.close()

    assert refused.value.retry_after_s == engine.BUSY_TIMEOUT_S
    assert "shop" not in str(refused.value)


def test_moments_come_back_aware_and_in_utc(database):
    with database.transaction() as session:
        session.add(token(expires_at=MOMENT.astimezone(timezone(timedelta(hours=2)))))

    with database.reading() as session:
        row = session.scalars(select(Token)).one()

    assert row.expires_at == MOMENT
    assert row.expires_at.tzinfo is UTC


def test_a_moment_without_a_time_zone_is_refused(database):
    with pytest.raises(StatementError, match="time zone"), database.transaction() as session:
        session.add(token(expires_at=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_a_change_moves_updated_at_alone(database):
    with database.transaction() as session:
        session.add(token())
    with database.transaction() as session:
        session.scalars(select(Token)).one().issued_by = "another"

    with database.reading() as session:
        row = session.scalars(select(Token)).one()

    assert row.created_at < row.updated_at


def test_a_database_that_came_back_serves_again(database, tmp_path):
    (tmp_path / "store").rename(tmp_path / "away")
    database.engine.dispose()
    with pytest.raises(StoreUnavailable):
        schema.status(database)

    (tmp_path / "away").rename(tmp_path / "store")

    assert schema.status(database).pending == ()

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.store import engine
from entrepot.store.engine import open_database
from entrepot.store.identity import Token
from entrepot.store.ledger import holds

MOMENT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
HOLD = {"upstream": "erp", "reason": "maintenance", "detail": "", "since": 1.0}


def token(jti="a", **values):
    fields = {"client": "shop", "partner": "acme", "scopes": "orders", "kid": "k", "issued_by": "test"}
    return Token(**(fields | {"jti": jti, "issued_at": MOMENT, "expires_at": MOMENT} | values))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///relative.db",
        "sqlite:///:memory:",
        "postgresql://host",
        "postgresql+psycopg2://host/db",
        "postgresql://host:secret/db",
        "postgresql://127.0.0.1/db?port=secret",
        "postgresql://127.0.0.1/db?connect_timeout=secret",
        "postgresql://127.0.0.1/db?secret=1",
        "mysql://host/db",
        "no url",
    ],
)
def test_a_url_that_is_no_file_of_sqlite_and_no_database_of_postgresql_is_refused_and_not_shown(url):
    with pytest.raises(SettingsError) as refused:
        open_database(url)

    assert "secret" not in str(refused.value)


def test_what_is_written_is_there_for_the_next_transaction(database):
    with database.writing() as connection:
        connection.execute(insert(holds), [HOLD])

    with database.reading() as session:
        assert session.execute(select(holds.c.upstream)).scalars().all() == ["erp"]


@pytest.mark.parametrize("kind", ["transaction", "writing"])
def test_a_transaction_that_raises_leaves_nothing(database, kind):
    def break_off():
        with getattr(database, kind)() as given:
            given.execute(insert(holds), [HOLD])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()

    with database.reading() as session:
        assert session.execute(select(holds)).all() == []


def test_an_outage_before_the_commit_says_that_nothing_was_written(database):
    with pytest.raises(StoreUnavailable) as caught, database.writing() as connection:
        connection.execute(text("SELECT 1 FROM nowhere"))

    assert caught.value.applied == "no"


def test_a_reader_sees_one_state_throughout(database):
    with database.reading() as session:
        before = session.execute(select(holds)).all()
        with database.writing() as connection:
            connection.execute(insert(holds), [HOLD])
        after = session.execute(select(holds)).all()

    assert before == after == []


def test_what_a_reader_changes_is_lost(database):
    with database.reading() as session:
        session.execute(insert(holds), [HOLD])

    with database.reading() as session:
        assert session.execute(select(holds)).all() == []


def test_a_broken_rule_of_the_schema_is_no_outage(database):
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.add_all([token(), token()])


def test_a_mistake_in_a_statement_harms_no_later_one(database):
    with pytest.raises(Exception, match="syntax"), database.writing() as connection:
        connection.execute(text("SELEC 1"))

    with database.writing() as connection:
        connection.execute(insert(holds), [HOLD])


def test_a_missing_table_is_an_outage(empty):
    with pytest.raises(StoreUnavailable, match="tokens"), empty.reading() as session:
        session.scalars(select(Token)).all()


def test_a_writer_has_the_one_right_to_write_from_its_beginning(database, store_url):
    impatient = open_database(store_url, busy_timeout_s=1.0)

    with database.writing(), pytest.raises(StoreUnavailable) as refused, impatient.writing():
        pass
    with database.transaction() as session, impatient.reading() as reader:
        session.add(token())
        session.flush()
        assert reader.scalars(select(Token)).all() == []
    with impatient.writing():
        pass
    impatient.close()

    assert refused.value.retry_after_s == engine.BUSY_TIMEOUT_S


def test_an_outage_is_told_without_values(database, store_url):
    impatient = open_database(store_url, busy_timeout_s=1.0)

    with database.writing(), pytest.raises(StoreUnavailable) as refused, impatient.transaction() as session:
        session.add(token())
    impatient.close()

    assert "shop" not in str(refused.value)
    assert "\n" not in str(refused.value)


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

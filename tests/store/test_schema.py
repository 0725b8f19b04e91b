import threading
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from entrepot.errors import StoreUnavailable
from entrepot.identity.refused import MAX_VALUE_CHARS
from entrepot.ledger.clients import begin_hold
from entrepot.store import schema
from entrepot.store.audit import Actor, Change, append, audit_entries
from entrepot.store.catalog import CatalogObject, CatalogRevision
from entrepot.store.engine import open_database
from entrepot.store.identity import (
    Credential,
    DisabledCaller,
    Operator,
    OperatorSession,
    Revocation,
    Token,
    master_key,
)
from entrepot.store.ledger import attempts, holds, idempotency_keys, plans, queues, transactions

MOMENT = datetime(2026, 11, 21, tzinfo=UTC)
ACTOR = Actor("root", "command", "00000000-0000-4000-8000-000000000000")


def stamp(database, revision):
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


def fill(database):
    """Put a row into every table."""
    with database.transaction() as session:
        session.add_all(rows())
        session.add(CatalogObject(kind="upstreams", name="erp", definition={"a": 1}, origin="file", place="a.yaml:1"))
        session.add(CatalogRevision(number=1, document={}, types={}, digest="d", summary="", made_by="test"))
        for table, row in ledger_rows():
            session.execute(insert(table), [row])
        append(session, ACTOR, Change("apply", "catalog", "1", before=None, after={"revision": 1}))


def ledger_rows():
    work = {
        "id": "018f0000-0000-7000-8000-000000000000",
        "partner": "p",
        "client": "c",
        "endpoint": "orders",
        "upstream": "erp",
        "kind": "create",
        "operation_id": "o",
        "plan": "d",
        "target": "POST /orders",
        "facts": "{}",
        "body": b"\x00\xff",
        "size": 2,
        "state": "queued",
        "applied": "no",
        "due_at": 1.5,
        "accepted_at": 1.5,
        "expires_at": 9e9,
        "attempts": 1,
    }
    attempt = {"number": 1, "courier": "host-1", "started_at": 1.5, "ended_at": 2.5, "outcome": "transient"}
    key = {"digest": "k", "request": "r", "transaction_id": work["id"], "queued": 1, "expires_at": 9e9}
    key |= {"partner": "p", "upstream": "erp", "size": 0}
    return [
        (plans, {"digest": "d", "document": "{}"}),
        (transactions, work | {"seq": 1}),
        (attempts, attempt | {"transaction_seq": 1, "status": 503, "code": "upstream-unavailable", "detail": ""}),
        (
            queues,
            {"upstream": "erp", "partner": "p", "unfinished": 1, "bytes": 2**40, "dead_bytes": 0, "kept_bytes": 0},
        ),
        (idempotency_keys, key),
        (holds, {"upstream": "*", "reason": "maintenance", "detail": "", "since": 1.5}),
        (master_key, {"number": 1, "fingerprint": "f", "place": "the file /x"}),
    ]


def counts(database):
    with database.reading() as session:
        return {
            table.name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for table in schema.metadata().sorted_tables
        }


def rows():
    operator = Operator(id=uuid4(), name="o", role="admin", password="$argon2id$", password_at=MOMENT)
    return [
        Token(
            jti="a", client="c", partner="p", scopes="", issued_at=MOMENT, expires_at=MOMENT, kid="k", issued_by="test"
        ),
        Revocation(kind="jti", value="a", revoked_at=MOMENT, expires_at=MOMENT, revoked_by="test"),
        Credential(
            key_id="i", kind="secret", client="c", partner="p", label="l", digest="d", made_at=MOMENT, made_by="test"
        ),
        DisabledCaller(kind="client", name="c", disabled_at=MOMENT, disabled_by="test"),
        operator,
        OperatorSession(
            operator_id=operator.id, digest="s", started_at=MOMENT, used_at=MOMENT, ends_at=MOMENT, source="::1"
        ),
    ]


def test_a_store_has_one_master_key(database):
    with database.transaction() as session:
        session.execute(insert(master_key), [{"number": 1, "fingerprint": "f", "place": "here"}])

    with pytest.raises(IntegrityError), database.transaction() as session:
        session.execute(insert(master_key), [{"number": 2, "fingerprint": "g", "place": "there"}])


def test_a_client_of_the_longest_name_that_can_be_disabled_is_held(database):
    with database.writing() as connection:
        begin_hold(connection, "n" * MAX_VALUE_CHARS, 1.5, disabled=True)

    with database.reading() as session:
        assert session.scalar(select(holds.c.upstream)) == f"client:{'n' * MAX_VALUE_CHARS}"


def test_an_empty_database_has_every_change_before_it(empty):
    status = schema.status(empty)

    assert status.current is None
    assert status.pending[-1] == status.head
    with pytest.raises(StoreUnavailable, match="entrepot db upgrade"):
        schema.check_schema(empty)


def test_the_first_start_makes_the_tables(empty):
    schema.prepare(empty)

    assert schema.status(empty).current == schema.status(empty).head
    assert {"tokens", "revocations"} <= set(inspect(empty.engine).get_table_names())


def test_models_and_migrations_say_the_same(database):
    with database.reading() as session:
        context = MigrationContext.configure(
            session.connection(), opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, schema.metadata()) == []


def test_every_constraint_in_the_database_is_the_one_of_the_model(database):
    inspector = inspect(database.engine)

    for table in schema.metadata().tables.values():
        named = {check["name"] for check in inspector.get_check_constraints(table.name)}
        assert named == {item.name for item in table.constraints if isinstance(item, CheckConstraint)}
        assert inspector.get_pk_constraint(table.name)["name"] == f"pk_{table.name}"


def test_rows_outlive_a_second_upgrade(database):
    fill(database)

    schema.upgrade(database)

    assert set(counts(database).values()) == {1}


def test_there_is_a_way_back_with_rows_and_forth_again(database):
    fill(database)

    with database.migrating() as connection:
        command.downgrade(schema.alembic_config(connection), "base")
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version"}
    schema.upgrade(database)

    assert schema.status(database).pending == ()
    assert set(counts(database).values()) == {0}


def test_every_change_has_a_way_back_of_its_own(database):
    directory = ScriptDirectory.from_config(schema.alembic_config(None))
    fill(database)

    for change in directory.walk_revisions():
        before = schema.status(database).current
        with database.migrating() as connection:
            command.downgrade(schema.alembic_config(connection), "-1")
        after = schema.status(database).current

        assert (before, after) == (change.revision, change.down_revision)


def test_the_ledger_goes_back_and_leaves_tokens_and_catalog(database):
    fill(database)

    with database.migrating() as connection:
        command.downgrade(schema.alembic_config(connection), "s1_0002")
    schema.upgrade(database)

    found = counts(database)
    assert found["tokens"] == found["catalog_revisions"] == 1
    assert found["transactions"] == found["ledger_plans"] == 0


def test_what_is_written_is_read_back_as_it_was(database):
    fill(database)

    with database.reading() as session:
        row = session.execute(select(transactions)).one()
        queue = session.execute(select(queues)).one()

    assert (row.body, row.due_at, row.order_key, row.expires_at) == (b"\x00\xff", 1.5, None, 9e9)
    assert queue.bytes == 2**40


def test_attempts_go_with_their_transaction(database):
    fill(database)

    with database.writing() as connection:
        connection.execute(transactions.delete())

    assert counts(database)["attempts"] == 0


@pytest.mark.parametrize(("column", "value"), [("state", "lost"), ("applied", "maybe"), ("plan", "absent")])
def test_a_transaction_outside_the_rules_is_refused(database, column, value):
    fill(database)

    with pytest.raises(IntegrityError), database.writing() as connection:
        connection.execute(transactions.update().values({column: value}))


def test_changes_are_in_one_line():
    directory = ScriptDirectory.from_config(schema.alembic_config(None))

    names = [revision.revision for revision in directory.walk_revisions()]

    assert len(directory.get_heads()) == 1
    assert all(schema.REVISION.fullmatch(name) for name in names)
    assert names == sorted(names, reverse=True)


def test_an_upgrade_that_breaks_off_changes_nothing(empty):
    def break_off():
        with empty.migrating() as connection:
            command.upgrade(schema.alembic_config(connection), "head")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()

    assert inspect(empty.engine).get_table_names() == []


def test_a_migration_that_leaves_rows_without_their_owner_is_undone(sqlite_url):
    empty = open_database(sqlite_url)

    def orphan():
        with empty.migrating() as connection:
            connection.exec_driver_sql("CREATE TABLE a (id INTEGER PRIMARY KEY)")
            connection.exec_driver_sql("CREATE TABLE b (a_id INTEGER REFERENCES a)")
            connection.exec_driver_sql("INSERT INTO b VALUES (7)")

    with pytest.raises(StoreUnavailable, match="refer to nothing"):
        orphan()

    assert inspect(empty.engine).get_table_names() == []
    empty.close()


def test_two_first_starts_at_once_make_the_tables_once(store_url):
    databases = [open_database(store_url) for _ in range(3)]
    threads = [threading.Thread(target=schema.prepare, args=(database,)) for database in databases]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {schema.status(database).pending for database in databases} == {()}
    for database in databases:
        database.close()


def test_the_schema_of_the_next_release_is_run_on_and_left_alone(database):
    ours, number = schema.REVISION.fullmatch(schema.status(database).head).groups()
    following = f"s{int(ours) + 1}_{int(number) + 3:04d}"
    stamp(database, following)

    schema.upgrade(database)
    schema.check_schema(database)

    assert schema.status(database) == (following, schema.status(database).head, ())


@pytest.mark.parametrize("revision", ["s99_9999", "s0_0001", "something"])
def test_any_other_schema_is_refused(database, revision):
    stamp(database, revision)

    with pytest.raises(StoreUnavailable, match=f"at {revision}"):
        schema.check_schema(database)


@pytest.mark.parametrize("statement", ["UPDATE audit_entries SET actor = 'x'", "DELETE FROM audit_entries"])
def test_the_audit_log_can_only_be_added_to(database, statement):
    with database.transaction() as session:
        append(session, ACTOR, Change("apply", "catalog", "1"))

    with pytest.raises(Exception, match="append-only"), database.transaction() as session:
        session.execute(text(statement))

    with database.reading() as session:
        assert session.scalars(select(audit_entries.c.actor)).all() == ["root"]

"""``entrepot db status`` and ``upgrade`` as a user and the package's scripts run them."""

import json

from alembic import command

from entrepot.store import schema
from entrepot.store.engine import open_database


def test_status_says_which_file_it_is_and_what_is_pending(program):
    before = program("db", "status", "--json")
    upgraded = program("db", "upgrade", "--json")
    after = program("db", "status", "--json")
    told = program("db", "status").stdout

    pending, found = json.loads(before.stdout), json.loads(after.stdout)
    assert (before.returncode, pending["current"]) == (1, None)
    assert json.loads(upgraded.stdout)["applied"] == pending["pending"]
    assert (after.returncode, found["current"], found["pending"]) == (0, found["head"], [])
    assert found["file"].endswith("/entrepot.db")
    assert found["file"] in told


def test_the_schema_before_is_backed_up_as_it_is(program):
    head = json.loads(program("db", "status", "--json").stdout)
    before = head["pending"][-2]
    database = open_database(f"sqlite:///{head['file']}")
    with database.migrating() as connection:
        command.upgrade(schema.alembic_config(connection), before)
    database.close()

    made = program("db", "backup", "--json")

    assert json.loads(made.stdout)["schema"] == before
    assert json.loads(program("db", "status", "--json").stdout)["current"] == before

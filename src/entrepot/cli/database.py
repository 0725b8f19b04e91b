"""``entrepot db``: the schema of the database."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from entrepot.chassis.occupancy import occupy
from entrepot.cli.output import say, say_json, say_table
from entrepot.cli.startup import start
from entrepot.store import schema
from entrepot.store.engine import Database, database_path, open_database


def upgrade(arguments: argparse.Namespace) -> int:
    """Bring the schema to this release's head and say which revisions were applied."""
    with _database(arguments) as database:
        before = schema.status(database)
        schema.upgrade(database)
        after = schema.status(database)
    if arguments.json:
        say_json({"from": before.current, "to": after.current, "applied": list(before.pending)})
    elif before.pending:
        say(f"upgraded from {before.current or 'an empty database'} to {after.current}")
    else:
        say(f"nothing to do: the schema is at {after.current}")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Say where the database is and its schema; 1 when this release needs another."""
    with _database(arguments) as database:
        found = schema.status(database)
        path = database_path(database.url)
    file = None if path is None else str(path)
    if arguments.json:
        say_json({"file": file, "current": found.current, "head": found.head, "pending": list(found.pending)})
    else:
        table = [("database", file or "PostgreSQL"), ("current", found.current or "none"), ("head", found.head)]
        say_table([*table, ("pending", " ".join(found.pending))])
    return 1 if found.pending else 0


@contextmanager
def _database(arguments: argparse.Namespace) -> Iterator[Database]:
    settings = start(arguments).settings
    occupant = occupy(settings.store.directory)
    try:
        database = open_database(settings.store.url)
        try:
            yield database
        finally:
            database.close()
    finally:
        occupant.close()

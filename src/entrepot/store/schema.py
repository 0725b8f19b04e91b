"""The schema of the database: bring it up to date, and say whether this release runs on it.

A release knows the revisions up to its own head. It runs on its own schema and on that of the next release, which
only adds (``entrepot.store.migrations``), so that a downgrade by one release needs no change of the database.

Alembic takes a third of a second to come up, so it is imported only where the schema is not the one expected.
"""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, MetaData, inspect, text

from entrepot import store
from entrepot.errors import StoreUnavailable
from entrepot.store.base import Base
from entrepot.store.engine import Database, translated
from entrepot.store.migrations import versions

if TYPE_CHECKING:
    from alembic.config import Config

REVISION = re.compile(r"s(\d+)_(\d+)")
# Noted once: a worker that is forked while the next release is being unpacked runs the code of its master.
_REVISIONS = [
    match[0] for match in (REVISION.match(module.name) for module in iter_modules(versions.__path__)) if match
]


class SchemaStatus(NamedTuple):
    """Where the schema is: *current* is None on an empty database, *pending* are the revisions to be applied."""

    current: str | None
    head: str
    pending: tuple[str, ...]


def upgrade(database: Database) -> None:
    """Bring the schema to this release's head, all or nothing; two at once do it once.

    A newer schema is left as it is when this release runs on it. Raises StoreUnavailable.
    """
    from alembic import command  # noqa: PLC0415 - see above

    with database.migrating() as connection:
        if status_of(connection).pending:
            command.upgrade(alembic_config(connection), "head")


def status(database: Database) -> SchemaStatus:
    """Return where the schema of *database* is. Raises StoreUnavailable."""
    with translated(), database.engine.connect() as connection:
        return status_of(connection)


def check_schema(database: Database) -> None:
    """Return when this release runs on the schema; raise StoreUnavailable, which says what to do, when not."""
    current, head, pending = status(database)
    if current is None:
        raise StoreUnavailable("the database is empty; run: entrepot db upgrade")
    if pending:
        raise StoreUnavailable(f"the database is at {current}, this release needs {head}; run: entrepot db upgrade")
    if _parts(current)[0] > _parts(head)[0] + 1:
        raise StoreUnavailable(f"the database is at {current}, this release knows {head}; run a newer release")


def prepare(database: Database) -> None:
    """Make the tables of an empty database; of any other check that this release runs on it.

    Raises StoreUnavailable.
    """
    if _is_at_head(database):
        return
    if status(database).current is None:
        upgrade(database)
    check_schema(database)


def _is_at_head(database: Database) -> bool:
    head = max(_REVISIONS, key=_parts)
    with translated(), database.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        return connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [head]


def metadata() -> MetaData:
    """Return the tables of every aggregate, also of those that nobody has imported yet."""
    for module in iter_modules(store.__path__, f"{store.__name__}."):
        if not module.ispkg:
            import_module(module.name)
    return Base.metadata


def alembic_config(connection: Connection) -> Config:
    """Return what Alembic's commands need to work on *connection*; there is no ``alembic.ini``."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "entrepot.store:migrations")
    return config


def status_of(connection: Connection) -> SchemaStatus:
    """Return where the schema behind *connection* is. Raises StoreUnavailable when that is not to be told."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - likewise

    script = ScriptDirectory.from_config(alembic_config(connection))
    order = [revision.revision for revision in script.walk_revisions()][::-1]
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None:
        return SchemaStatus(None, order[-1], tuple(order))
    if current in order:
        return SchemaStatus(current, order[-1], tuple(order[order.index(current) + 1 :]))
    if _parts(current) < _parts(order[-1]):
        raise StoreUnavailable(
            f"the database is at {current}, which this release does not know; its head is {order[-1]}"
        )
    return SchemaStatus(current, order[-1], ())


def _parts(revision: str) -> tuple[int, int]:
    match = REVISION.fullmatch(revision)
    if match is None:
        raise StoreUnavailable(f"the database is at {revision}, which is no revision of Entrepot")
    return int(match[1]), int(match[2])

"""The mark of the master key in the database, where it outlives the files and is the same for all hosts.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from entrepot.errors import StoreUnavailable
from entrepot.identity.durable import sync_directory
from entrepot.identity.master import MARK, Mark, MasterKey
from entrepot.store import audit
from entrepot.store.audit import Actor, Change
from entrepot.store.engine import Database
from entrepot.store.identity import master_key


def expect_stored(database: Database, master: MasterKey) -> None:
    """Let *master* refuse another key than the one that *database* knows. Raises StoreUnavailable."""
    with database.reading() as session:
        mark = _stored(session.connection())
    if mark is not None:
        master.expect(mark)


def store_mark(database: Database, master: MasterKey) -> None:
    """Write the mark of the file down where *database* has none. Raises SettingsError and StoreUnavailable."""
    mark = master.marked
    if mark is None:
        return
    with database.reading() as session:
        if _stored(session.connection()) is not None:
            return
    # Another process may be first; what it has written counts from the next time on.
    with suppress(IntegrityError), database.writing() as connection:
        connection.execute(master_key.insert().values(number=1, fingerprint=mark.fingerprint, place=mark.place))


def forget(database: Database, directory: Path, *, actor: Actor) -> bool:
    """Forget which master key the store in *directory* has, so that the next one is taken; return whether it had one.

    What was sealed or hashed with the former stays void. Raises StoreUnavailable.
    """
    path = directory / MARK
    try:
        with database.writing() as connection:
            mark = _stored(connection)
            if mark is None and not path.exists():
                return False
            connection.execute(master_key.delete())
            before = None if mark is None else {"place": mark.place}
            audit.append(connection, actor, Change("forget", "master key", "", before=before))
        # Afterwards: a file that is left is told of with each use of a key, and forgotten by the next try.
        path.unlink(missing_ok=True)
        sync_directory(directory)
    except OSError as exc:
        raise StoreUnavailable(f"the mark of the master key {path} cannot be removed: {exc.strerror}") from exc
    return True


def _stored(connection: Connection) -> Mark | None:
    row = connection.execute(select(master_key.c.fingerprint, master_key.c.place)).first()
    return None if row is None else Mark(row.fingerprint, row.place)

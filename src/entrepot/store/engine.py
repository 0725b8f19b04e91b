"""Open the database and give transactions on it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy import exc as db_exc
from sqlalchemy.orm import Session

from entrepot.errors import SettingsError, StoreUnavailable

BUSY_TIMEOUT_S = 5.0
WRITING = "entrepot_writing"


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. Threads share it; a process that forks opens its own afterwards."""

    url: URL
    engine: Engine = field(repr=False)
    busy_timeout_s: float = BUSY_TIMEOUT_S

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session that may write; it is committed and on disk when the block ends, rolled back when it raises.

        On SQLite the transaction has the one right to write from its first statement on, and waits for it at most
        *busy_timeout_s*. Raises StoreUnavailable.
        """
        with translated(), Session(self._engine(writing=True), expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of the database throughout; what it changes is lost.

        Raises StoreUnavailable.
        """
        with translated(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Give a connection that may change the schema, all or nothing, one process at a time.

        Foreign keys are checked at the end and not on the way: SQLite changes a table by dropping and copying it,
        which would delete the rows that refer to it. Raises StoreUnavailable.
        """
        engine = make_engine(self.url, self.busy_timeout_s, foreign_keys=False)
        try:
            with translated(), engine.execution_options(**{WRITING: True}).begin() as connection:
                yield connection
                if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    raise StoreUnavailable("the migration leaves rows that refer to nothing; nothing was changed")
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close all connections; the database may not be used afterwards."""
        self.engine.dispose()

    def _engine(self, *, writing: bool) -> Engine:
        return self.engine.execution_options(**{WRITING: writing})


def open_database(url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """Return the database at *url* (``sqlite:////absolute/path``), making an empty file when there is none.

    Its file is readable by its owner alone, and so are the ones that SQLite puts beside it. Raises SettingsError for a
    URL of another kind, StoreUnavailable when the file cannot be made or opened.
    """
    parsed = _sqlite_url(url)
    path = Path(str(parsed.database))
    try:
        _make_private(path)
    except OSError as exc:
        raise StoreUnavailable(f"the database {path} cannot be opened: {exc.strerror}") from exc
    database = Database(parsed, make_engine(parsed, busy_timeout_s), busy_timeout_s)
    try:
        with translated(), database.engine.connect():
            pass
    except StoreUnavailable:
        database.close()
        raise
    return database


def make_engine(url: URL, busy_timeout_s: float, *, foreign_keys: bool = True) -> Engine:
    """Return an engine whose connections are set up for safety: WAL, ``synchronous=FULL``, private files."""
    engine = create_engine(url, connect_args={"timeout": busy_timeout_s})

    def set_up(connection: Any, _record: object) -> None:
        # sqlite3 begins a transaction before some statements only, and never before DDL; so it is told to begin
        # none, and _begin does (docs.sqlalchemy.org, "Serializable isolation / Savepoints / Transactional DDL").
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"foreign_keys={int(foreign_keys)}"):
            connection.execute(f"PRAGMA {pragma}").close()

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver says about a database that is away, locked, full or broken into StoreUnavailable.

    A broken rule of the schema (IntegrityError) stays what it is: the caller knows what it means.
    """
    try:
        yield
    except (db_exc.IntegrityError, db_exc.DataError, db_exc.ProgrammingError):
        raise
    except db_exc.DBAPIError as exc:
        # Without the statement and its values, which may be personal data.
        raise StoreUnavailable(f"the database does not answer: {exc.orig}", retry_after_s=BUSY_TIMEOUT_S) from exc
    except db_exc.TimeoutError as exc:
        raise StoreUnavailable("all connections to the database are in use", retry_after_s=BUSY_TIMEOUT_S) from exc


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer: SQLite fails it at once
    # (sqlite.org/isolation.html, SQLITE_BUSY_SNAPSHOT). So writers ask for the right to write first.
    writing = connection.get_execution_options().get(WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _sqlite_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except db_exc.ArgumentError as exc:
        raise SettingsError("the URL of the store is not understood; it looks like sqlite:////absolute/path") from exc
    if parsed.get_backend_name() != "sqlite":
        raise SettingsError(f"the store is SQLite; a URL of {parsed.get_backend_name()!r} is not supported")
    if not Path(parsed.database or "").is_absolute():
        raise SettingsError("the URL of the store needs an absolute path: sqlite:////var/lib/entrepot/entrepot.db")
    return parsed


def _make_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & stat.S_IWOTH:
        raise StoreUnavailable(f"anyone may write to {path.parent}; take that away: chmod o-w {path.parent}")
    # SQLite gives its -wal and -shm files the mode of the database (sqlite.org/src, os_unix.c findCreateFileMode).
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)

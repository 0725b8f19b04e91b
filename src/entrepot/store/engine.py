"""Open the database and give transactions on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy import exc as db_exc
from sqlalchemy.orm import Session

from entrepot.chassis.values import database_url
from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.store.backend import WRITING, Backend, Clock
from entrepot.store.postgresql import PostgreSQL
from entrepot.store.sqlite import SQLite, overwrite_freed, path_of

BUSY_TIMEOUT_S = 5.0

# What is missing in the schema or in the rights on it (postgresql.org/docs, "PostgreSQL Error Codes"): an operator
# mends it, as SQLite's "no such table". Other ProgrammingErrors are mistakes of this program.
_NOT_SET_UP = {"42501", "42P01", "42703", "3F000"}


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. Threads share it; a process that forks opens its own afterwards."""

    url: URL
    backend: Backend = field(repr=False)

    @property
    def engine(self) -> Engine:
        """What gives connections, for those who read the schema."""
        return self.backend.engine

    def now(self) -> float:
        """Return the time, in seconds since 1970, that all go by who use the database: PostgreSQL's own.

        It is known to some milliseconds since the last turn to write. Before a moment is compared with another one of
        the database, or stored, it should be this one: the clocks of two hosts may be minutes apart.
        """
        return self.backend.now()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session that may write; it is committed and on disk when the block ends, rolled back when it raises.

        It has the one right to write from its first statement on, and waits for it at most as long as the database
        was opened for, in the order in which writers of all processes came. Raises StoreUnavailable; when a server
        went away at the commit, what was written may be there all the same.
        """
        with self.writing() as connection, Session(connection, expire_on_commit=False) as session:
            yield session
            session.flush()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection that may write: as ``transaction``, for statements on tables.

        Raises StoreUnavailable; its ``applied`` is ``no`` unless it was the commit that failed.
        """
        is_written = False
        try:
            # The connection comes first, and goes last, so that nothing is done in a turn that can be done outside.
            with (
                translated(),
                self._writing_engine().connect() as connection,
                self.backend.turn(connection),
                connection.begin(),
            ):
                yield connection
                is_written = True
        except StoreUnavailable as exc:
            if not is_written:
                exc.applied = "no"
            raise

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of the database throughout; what it changes is lost.

        Raises StoreUnavailable.
        """
        engine = self.engine.execution_options(**self.backend.reading_options)
        with translated(), Session(engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Give a connection that may change the schema, all or nothing, one process at a time.

        Raises StoreUnavailable.
        """
        with translated(), self.backend.migrating() as connection:
            yield connection

    def give_back(self, pages: int, *, spare: int = 0) -> int:
        """Give at most *pages* pages that deleted rows left back to the file system, all but *spare*; return how many.

        Other writers wait meanwhile: some ten microseconds a page. Raises StoreUnavailable.
        """
        with self.writing() as connection:
            return self.backend.give_back(connection, pages, spare=spare)

    def forget_log(self) -> None:
        """Empty the log of changes, in which what was deleted still stands, if nobody uses it."""
        self.backend.forget_log()

    def close(self) -> None:
        """Close all connections; the database may not be used afterwards."""
        self.backend.close()

    def _writing_engine(self) -> Engine:
        return self.engine.execution_options(**{WRITING: True})


def open_database(url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S, clock: Clock = time.time) -> Database:
    """Return the database at *url*, whose writers wait at most *busy_timeout_s* for each other.

    *clock* is this host's.

    ``sqlite:////absolute/path`` is made when there is none, readable by its owner alone, as are the files beside it.
    ``postgresql+psycopg://user@host/name`` must be there. Raises SettingsError for a URL of another kind or a parameter
    that is not known, StoreUnavailable when the database cannot be made or opened.
    """
    parsed = _parsed(url)
    try:
        database = Database(parsed, _backend(parsed, busy_timeout_s, clock))
        _connect(database)
    except (db_exc.ArgumentError, db_exc.ProgrammingError) as exc:
        raise SettingsError("a parameter of the store's URL, behind the ?, is not known or has no right value") from exc
    return database


def database_path(url: str | URL) -> Path | None:
    """Return the file of the database at *url*; None when it is on a server. Raises SettingsError."""
    parsed = _parsed(url)
    return None if parsed.drivername.startswith("postgresql") else path_of(parsed)


def wipe_freed(connection: Connection) -> None:
    """Let what *connection* overwrites or frees from now on not stay in the database's file, where it has one."""
    if connection.dialect.name == "sqlite":
        overwrite_freed(connection)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver says about a database that is away, locked, full or broken into StoreUnavailable.

    A broken rule of the schema (IntegrityError) stays what it is: the caller knows what it means.
    """
    try:
        yield
    except (db_exc.IntegrityError, db_exc.DataError):
        raise
    except db_exc.DBAPIError as exc:
        if isinstance(exc, db_exc.ProgrammingError) and getattr(exc.orig, "sqlstate", None) not in _NOT_SET_UP:
            raise
        raise StoreUnavailable(f"the database does not answer: {_reason(exc)}", retry_after_s=BUSY_TIMEOUT_S) from exc
    except db_exc.TimeoutError as exc:
        raise StoreUnavailable("all connections to the database are in use", retry_after_s=BUSY_TIMEOUT_S) from exc


def _connect(database: Database) -> None:
    try:
        with translated(), database.engine.connect():
            pass
    except BaseException:
        database.close()
        raise


def _reason(exc: db_exc.DBAPIError) -> str:
    # One line, without the statement, its values and PostgreSQL's details, which may be personal data.
    return str(exc.orig).partition("\n")[0].strip()


def _parsed(url: str | URL) -> URL:
    try:
        return url if isinstance(url, URL) else make_url(database_url(url))
    except (ValueError, db_exc.ArgumentError) as exc:
        raise SettingsError("the URL of the store is not understood; it looks like sqlite:////absolute/path") from exc


def _backend(url: URL, busy_timeout_s: float, clock: Clock) -> Backend:
    kind = SQLite if url.get_backend_name() == "sqlite" else PostgreSQL
    return kind(url, busy_timeout_s, clock)

"""Open the database and give transactions on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy import exc as db_exc
from sqlalchemy.orm import Session

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.store.backend import WRITING, Backend
from entrepot.store.postgresql import PostgreSQL
from entrepot.store.sqlite import SQLite

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
        """Give a connection that may write: as ``transaction``, for statements on tables. Raises StoreUnavailable."""
        # The connection comes first, and goes last, so that nothing is done in a turn that can be done outside.
        with (
            translated(),
            self._writing_engine().connect() as connection,
            self.backend.turn(connection),
            connection.begin(),
        ):
            yield connection

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

    def give_back(self, pages: int) -> int:
        """Give at most *pages* pages that deleted rows left back to the file system, and return how many.

        Other writers wait meanwhile: some ten microseconds a page. Raises StoreUnavailable.
        """
        with self.writing() as connection:
            return self.backend.give_back(connection, pages)

    def close(self) -> None:
        """Close all connections; the database may not be used afterwards."""
        self.backend.close()

    def _writing_engine(self) -> Engine:
        return self.engine.execution_options(**{WRITING: True})


def open_database(url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """Return the database at *url*, whose writers wait at most *busy_timeout_s* for each other.

    ``sqlite:////absolute/path`` is made when there is none, readable by its owner alone, as are the files beside it.
    ``postgresql+psycopg://user@host/name`` must be there. Raises SettingsError for a URL of another kind,
    StoreUnavailable when the database cannot be made or opened.
    """
    parsed = _parsed(url)
    database = Database(parsed, _backend(parsed, busy_timeout_s))
    try:
        with translated(), database.engine.connect():
            pass
    except BaseException:
        database.close()
        raise
    return database


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


def _reason(exc: db_exc.DBAPIError) -> str:
    # One line, without the statement, its values and PostgreSQL's details, which may be personal data.
    return str(exc.orig).partition("\n")[0].strip()


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except db_exc.ArgumentError as exc:
        raise SettingsError("the URL of the store is not understood; it looks like sqlite:////absolute/path") from exc


def _backend(url: URL, busy_timeout_s: float) -> Backend:
    if url.drivername in {"sqlite", "sqlite+pysqlite"}:
        return SQLite(url, busy_timeout_s)
    if url.drivername in {"postgresql", "postgresql+psycopg"}:
        return PostgreSQL(url, busy_timeout_s)
    raise SettingsError(f"the store is SQLite or PostgreSQL (psycopg); a URL of {url.drivername!r} is not supported")

"""SQLite: files for their owner alone, WAL with every commit synced, and writers of several processes in turn."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy import exc as db_exc

from entrepot.chassis.turns import Turns
from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.store.backend import WRITING, Clock

# Of the time a writer may wait, the part it waits for its turn; then it tries SQLite's own lock for the rest.
TURN_SHARE = 0.2
# After so many pages in the -wal file a commit copies them into the database, and waits for no reader. When the file
# begins anew, it is cut to WAL_BYTES.
CHECKPOINT_PAGES = 1000
WAL_BYTES = 16 << 20
# Readers who overlap without end keep it from beginning anew, so with so many bytes a writer waits for those who read.
WAL_MOST_BYTES = 2 * WAL_BYTES
READERS_WAIT_MS = 250
# How many steps of SQLite's machine lie between two words about how far a copy is: some tenths of a second.
_STEPS_BETWEEN = 1_000_000

_SAFETY = ("journal_mode=WAL", "synchronous=FULL", "trusted_schema=OFF")
_SPACE = (f"wal_autocheckpoint={CHECKPOINT_PAGES}", f"journal_size_limit={WAL_BYTES}")


class SQLite:
    """A database in a file, made when there is none. Raises SettingsError, StoreUnavailable."""

    reading_options: Mapping[str, object] = {}

    def __init__(self, url: URL, busy_timeout_s: float, clock: Clock) -> None:
        path = path_of(url)
        try:
            _make_private(path)
            self._turns = Turns(path.with_name(f"{path.name}.turns"))
        except OSError as exc:
            raise StoreUnavailable(f"the database {path} cannot be opened: {exc.strerror}") from exc
        self._clock = clock
        self._url = url
        self._busy_timeout_s = busy_timeout_s
        self._log = Log(path)
        self.engine = _engine(url, busy_timeout_s * (1 - TURN_SHARE), foreign_keys=True)

    def now(self) -> float:
        """Return the time of this host: whoever uses the file is on it."""
        return self._clock()

    @contextmanager
    def turn(self, connection: Connection) -> Iterator[None]:
        """Wait for this writer's turn and hold it for the block.

        Without one the block runs all the same after a while: someone who was stopped may stand in the queue, and
        whether he has the right to write is for SQLite to say.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self._turns.turn(self._busy_timeout_s * TURN_SHARE))
            except OSError as exc:
                raise StoreUnavailable(f"the queue of writers cannot be used: {exc.strerror}") from exc
            yield
            self._log.shorten(connection)

    def give_back(self, connection: Connection, pages: int, *, spare: int) -> int:
        """Cut at most *pages* free pages off the file, at the commit, all but *spare*, and return how many."""
        free = _free_pages(connection)
        driver: Any = connection.connection.driver_connection
        for _ in range(min(pages, free - spare)):
            # One at a time: it is a query that cuts off a page with each of its rows, and the driver fetches but one
            # of a query without columns.
            driver.execute("PRAGMA incremental_vacuum(1)").close()
        return free - _free_pages(connection)

    def forget_log(self) -> None:
        """Copy the log into the database and empty it; what is committed is safe without it."""
        # Whoever cannot have it for himself leaves it: it is overwritten as others write.
        with suppress(db_exc.DBAPIError), self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Give a connection that has the one right to write, and checks foreign keys at the end and not on the way.

        SQLite changes a table by dropping and copying it, which would delete the rows that refer to it.
        """
        engine = _engine(self._url, self._busy_timeout_s, foreign_keys=False)
        try:
            with engine.execution_options(**{WRITING: True}).begin() as connection:
                yield connection
                if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    raise StoreUnavailable("the migration leaves rows that refer to nothing; nothing was changed")
        finally:
            engine.dispose()

    def size(self) -> int:
        """Return how many bytes a copy takes at most."""
        with self.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() - _free_pages(connection)
            return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())

    def copy(self, target: Path, tell: Callable[[], None]) -> None:
        """Write the database of this moment to *target*, a new file for its owner alone; not synced.

        Others read and write meanwhile; what they commit is not in it. *tell* is called now and then.
        """

        def progress() -> None:
            tell()

        target.touch(mode=0o600, exist_ok=False)
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(progress, _STEPS_BETWEEN)
            try:
                # VACUUM does not run within a transaction; it is one reading transaction itself. The backup interface
                # of SQLite would begin anew with every commit of another process (sqlite.org/backup.html).
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("VACUUM INTO ?", (str(target),))
            finally:
                # Who was interrupted has no connection any more.
                if not connection.invalidated:
                    driver.set_progress_handler(None, 0)

    def close(self) -> None:
        """Close all connections and the queue of writers."""
        self.engine.dispose()
        self._turns.close()


class Log:
    """The -wal file of the database at *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-wal")
        self._most_bytes = WAL_MOST_BYTES

    def shorten(self, connection: Connection) -> None:
        """Make the file begin anew when it has grown too long, on a *connection* without a transaction.

        A reader who stays longer than READERS_WAIT_MS is waited for again when the file has grown by as much. What
        was committed is safe, so no error of this is one of the commit.
        """
        driver = connection.connection.driver_connection
        with suppress(OSError, sqlite3.Error):
            if driver is None or self._path.stat().st_size <= self._most_bytes:
                return
            (usual_ms,) = driver.execute("PRAGMA busy_timeout").fetchone()
            driver.execute(f"PRAGMA busy_timeout={READERS_WAIT_MS}").close()
            try:
                (busy, _, _) = driver.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            finally:
                driver.execute(f"PRAGMA busy_timeout={usual_ms}").close()
            self._most_bytes = self._most_bytes + WAL_MOST_BYTES if busy else WAL_MOST_BYTES


def overwrite_freed(connection: Connection) -> None:
    """Let what *connection* overwrites or frees not stay in the file (sqlite.org/pragma.html#pragma_secure_delete)."""
    connection.exec_driver_sql("PRAGMA secure_delete=ON").close()


def _engine(url: URL, busy_timeout_s: float, *, foreign_keys: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": busy_timeout_s}, pool_timeout=busy_timeout_s)

    def set_up(connection: Any, _record: object) -> None:
        # sqlite3 begins a transaction before some statements only, and never before DDL; so it is told to begin
        # none, and _begin does (docs.sqlalchemy.org, "Serializable isolation / Savepoints / Transactional DDL").
        connection.isolation_level = None
        # So that space can be given back in small steps. It must come before whatever writes the first page
        # (sqlite.org/pragma.html#pragma_auto_vacuum); later it would change nothing, and wait for writers.
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL").close()
        for pragma in (*_SAFETY, *_SPACE, f"foreign_keys={int(foreign_keys)}"):
            connection.execute(f"PRAGMA {pragma}").close()

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer: SQLite fails it at once
    # (sqlite.org/isolation.html, SQLITE_BUSY_SNAPSHOT). So writers ask for the right to write first.
    writing = connection.get_execution_options().get(WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _free_pages(connection: Connection) -> int:
    pages: int = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    return pages


def path_of(url: URL) -> Path:
    """Return the file that *url* names. Raises SettingsError for a relative one."""
    path = Path(url.database or "")
    if not path.is_absolute():
        raise SettingsError("the URL of the store needs an absolute path: sqlite:////var/lib/entrepot/entrepot.db")
    return path


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

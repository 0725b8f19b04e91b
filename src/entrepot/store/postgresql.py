"""PostgreSQL by psycopg 3: small pools, bounded waits, and writers of all hosts in turn by an advisory lock."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.store.backend import WRITING, Clock

# Anybody's number, the same in every release: who holds this advisory lock has the one right to write.
WRITERS_LOCK = 0x656E7472_65706F74

POOL_SIZE = 4
MORE_CONNECTIONS = 4

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
_WRITERS_TURN = text(
    f"SELECT pg_advisory_xact_lock(:lock), set_config('idle_in_transaction_session_timeout', :idle_ms, true), {_NOW}"
)


class PostgreSQL:
    """A database of a PostgreSQL server. Raises SettingsError for a URL that names none, or without the driver."""

    # PostgreSQL's READ COMMITTED, the rule for writers, shows each statement another state.
    reading_options: Mapping[str, object] = {"isolation_level": "REPEATABLE READ"}

    def __init__(self, url: URL, busy_timeout_s: float, clock: Clock) -> None:
        if not url.database:
            raise SettingsError("the URL of the store names no database: postgresql+psycopg://user@host/name")
        if find_spec("psycopg") is None:
            raise SettingsError("a store in PostgreSQL needs the driver: pip install 'entrepot[postgresql]'")
        self._time = ServerTime(clock)
        self.engine = _engine(url.set(drivername="postgresql+psycopg"), busy_timeout_s, self._time)

    def now(self) -> float:
        """Return the server's time: the clocks of the hosts that share it need not agree."""
        return self._time.now()

    @contextmanager
    def turn(self, connection: Connection) -> Iterator[None]:  # noqa: ARG002 - that of the other engine
        """Do nothing: the server lets writers in one after the other, in the order in which they came."""
        yield

    def give_back(self, connection: Connection, pages: int, *, spare: int) -> int:  # noqa: ARG002 - that of the other engine
        """Return 0: the server's autovacuum looks after its space."""
        return 0

    def forget_log(self) -> None:
        """Do nothing: the server writes over its log as it goes on."""

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Give a connection that has the one right to write, and as much time as the change takes."""
        with self.engine.execution_options(**{WRITING: True}).begin() as connection:
            for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {name} = 0")
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


class ServerTime:
    """The time of a server, reckoned by this host's *clock*: it is seen at each connection and each turn to write."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = 0.0

    def now(self) -> float:
        """Return the server's time, as far as it is known."""
        return self._clock() + self._ahead_s

    def seen(self, now: float) -> None:
        """Note that it is *now* at the server."""
        self._ahead_s = now - self._clock()


def _engine(url: URL, busy_timeout_s: float, time: ServerTime) -> Engine:
    wait_ms = max(1, round(busy_timeout_s * 1000))
    engine = create_engine(
        url,
        connect_args={name: value for name, value in _network(busy_timeout_s).items() if name not in url.query},
        isolation_level="READ COMMITTED",
        pool_size=POOL_SIZE,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=busy_timeout_s,
        # A server that was restarted in between is no outage.
        pool_pre_ping=True,
    )

    def set_up(connection: Any, _record: object) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            _require_utf8(cursor)
            cursor.execute(
                "SELECT set_config('lock_timeout', %(wait)s, false), set_config('statement_timeout', %(wait)s, false)",
                {"wait": str(wait_ms)},
            )
            # Whoever set it higher (remote_apply) knows why.
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
            cursor.execute(f"SELECT {_NOW}")
            time.seen(cursor.fetchone()[0])
        connection.autocommit = False

    def begin(connection: Connection) -> None:
        # Whoever was stopped in mid-transaction loses his session, and with it the right to write.
        if connection.get_execution_options().get(WRITING):
            turn = connection.execute(_WRITERS_TURN, {"lock": WRITERS_LOCK, "idle_ms": str(wait_ms)})
            time.seen(turn.one()[2])

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    return engine


def _network(busy_timeout_s: float) -> dict[str, int]:
    """Return libpq's parameters with which a host that is gone is noticed about as soon as one that is busy."""
    seconds = max(2, math.ceil(busy_timeout_s))
    return {
        "connect_timeout": seconds,
        "tcp_user_timeout": seconds * 1000,
        "keepalives_idle": seconds,
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }


def _require_utf8(cursor: Any) -> None:
    cursor.execute("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()")
    (encoding,) = cursor.fetchone()
    if encoding != "UTF8":
        raise StoreUnavailable(f"the database is encoded in {encoding}; make one in UTF8: createdb --encoding=UTF8")

"""What the store asks of a kind of database: ``sqlite`` and ``postgresql`` do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Engine

Clock = Callable[[], float]

# The option of a connection whose transactions need the one right to write, from their beginning.
WRITING = "entrepot_writing"


class Backend(Protocol):
    """One open database. Errors of the driver pass through: ``engine.translated`` turns them into ours."""

    @property
    def engine(self) -> Engine:
        """What gives connections; with the option WRITING, their transactions have the one right to write."""

    @property
    def reading_options(self) -> Mapping[str, object]:
        """Options with which a transaction sees one state of the database throughout."""

    def now(self) -> float:
        """Return the time, in seconds since 1970, that all go by who use the database."""

    def turn(self, connection: Connection) -> AbstractContextManager[None]:
        """Keep other writers waiting, in the order in which they came, for a transaction that *connection* is to begin.

        Raises StoreUnavailable.
        """

    def give_back(self, connection: Connection, pages: int, *, spare: int) -> int:
        """Give at most *pages* pages of free space back to the file system, all but *spare*, and return how many."""

    def forget_log(self) -> None:
        """Empty the log of changes, in which what was deleted still stands, if nobody uses it."""

    def migrating(self) -> AbstractContextManager[Connection]:
        """Give a connection in a transaction that may change the schema, alone. Raises StoreUnavailable."""

    def close(self) -> None:
        """Close all connections."""

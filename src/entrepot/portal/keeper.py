"""Tokens are written down by one thread: one commit carries all that the others issued meanwhile."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from entrepot.chassis.errors import Error
from entrepot.identity.issuing import Row, insert_tokens
from entrepot.ledger.writer import Writer
from entrepot.store.engine import Database


class TokenKeeper:
    """Keeps tokens in *database* for the threads of one process."""

    def __init__(self, database: Database) -> None:
        self._writer = Writer(database)

    def keep(self, row: Row) -> None:
        """Return when *row* is committed and on disk. Raises StoreUnavailable."""
        kept: Future[Any] = Future()
        self._writer.submit(insert_tokens, row, kept.set_result)
        outcome = kept.result()
        if isinstance(outcome, Error):
            raise outcome

    def close(self) -> None:
        """Finish what was given, and end the thread."""
        self._writer.close()

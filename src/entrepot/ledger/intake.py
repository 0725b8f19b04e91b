"""The ledger's side of a worker of the gateway: what is submitted on its loop, and comes back there."""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import Connection

from entrepot.chassis.errors import Error
from entrepot.errors import StoreUnavailable
from entrepot.ledger import operate, reading
from entrepot.ledger.acceptance import accept
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    Admission,
    AnswerOf,
    Filters,
    Finished,
    LeaseOf,
    MemoryOf,
    Sight,
)
from entrepot.ledger.keys import keep_answers, keep_memories, let_go
from entrepot.ledger.retention import KEPT_BYTES
from entrepot.ledger.settle import finish
from entrepot.ledger.writer import Done, Handler, Writer, call_each
from entrepot.store.backend import Clock
from entrepot.store.engine import Database

log = logging.getLogger(__name__)


class Intake:
    """What a worker of the gateway holds: the ledger's writer and a reader, each a thread.

    Every *done* is called on *loop*, with the result or the Error that came of it. *wake* is called, on the writer's
    thread, after each commit that gave couriers something to do. *kept_bytes* is what ``keep_answers`` keeps at most
    of a partner.
    """

    def __init__(
        self,
        database: Database,
        loop: AbstractEventLoop,
        *,
        wake: Callable[[], None],
        kept_bytes: int = KEPT_BYTES,
        clock: Clock | None = None,
    ) -> None:
        self._keep_answers: Handler = partial(keep_answers, most_bytes=kept_bytes)
        self._database = database
        self._loop = loop
        self._wake = wake
        self._has_work = False
        self._writer = Writer(database, on_commit=self._committed, deliver=self._deliver, clock=clock)
        self._reader = ThreadPoolExecutor(1, "ledger-reader")

    def accept(self, item: Acceptance, done: Callable[[Admission | Error], object]) -> None:
        """Accept *item*."""
        self._submit(self._accept, item, done)

    def keep_answer(self, item: AnswerOf, done: Callable[[Error | None], object]) -> None:
        """Keep the answer of a direct write for its key."""
        self._submit(self._keep_answers, item, done)

    def let_go(self, item: LeaseOf, done: Callable[[Error | None], object]) -> None:
        """Let whoever repeats a direct write that has no answer to keep go on with it, or begin anew."""
        self._submit(let_go, item, done)

    def keep_memory(self, item: MemoryOf, done: Callable[[Error | None], object]) -> None:
        """Keep what the connector noted before the first try of a direct write."""
        self._submit(keep_memories, item, done)

    def finish(self, item: Finished, done: Callable[[bool | Error], object]) -> None:
        """Note how a write that was handed over has ended; see ``settle.finish``."""
        self._submit(self._finish, item, done)

    def cancel(self, id_: str, partner: str | None, done: Callable[[operate.Cancelled | Error], object]) -> None:
        """Cancel the transaction *id_* of *partner*; see ``operate.cancel``."""
        self._submit(self._cancel, (id_, partner), done)

    def read(self, id_: str, partner: str | None, done: Callable[[Sight | Error | None], object]) -> None:
        """Look at the transaction *id_* of *partner*; see ``reading.one``."""
        self._ask(partial(reading.one, id_=id_, partner=partner), done)

    def list(self, filters: Filters, done: Callable[[Sequence[Sight] | Error], object]) -> None:
        """List the transactions that *filters* let through; see ``reading.listing``."""
        self._ask(partial(reading.listing, filters=filters), done)

    def now(self) -> float:
        """Return the time that all go by who use the database."""
        return self._database.now()

    def close(self) -> None:
        """Finish what was submitted. Waits for it; the loop need not run meanwhile."""
        self._writer.close()
        self._reader.shutdown()

    def _accept(self, connection: Connection, items: Sequence[Acceptance], now: float) -> Sequence[Admission]:
        admissions = accept(connection, items, now)
        self._has_work |= any(isinstance(one, Accepted) and not one.replayed for one in admissions)
        return admissions

    def _cancel(
        self, connection: Connection, items: Sequence[tuple[str, str | None]], now: float
    ) -> Sequence[operate.Cancelled]:
        results = [operate.cancel(connection, id_, partner, now) for id_, partner in items]
        self._has_work |= "done" in results
        return results

    def _finish(self, connection: Connection, items: Sequence[Finished], now: float) -> Sequence[bool]:
        results = finish(connection, items, now)
        self._has_work |= any(results)
        return results

    def _submit(self, handler: Handler, item: Any, done: Done) -> None:
        try:
            self._writer.submit(handler, item, done)
        except StoreUnavailable as exc:
            exc.applied = "no"
            self._deliver([partial(done, exc)])

    def _ask(self, read: Callable[[Connection], Any], done: Done) -> None:
        try:
            self._reader.submit(self._look, read, done)
        except RuntimeError:
            self._deliver([partial(done, StoreUnavailable("this process ends and reads nothing more"))])

    def _committed(self) -> None:
        # Of a batch that failed it may be left over; then couriers look once in vain.
        if self._has_work:
            self._has_work = False
            self._wake()

    def _look(self, read: Callable[[Connection], Any], done: Done) -> None:
        result: Any
        try:
            with self._database.reading() as session:
                result = read(session.connection())
        except Error as exc:
            result = exc
        except Exception:
            log.exception("the ledger cannot be read")
            result = Error()
        self._deliver([partial(done, result)])

    def _deliver(self, calls: Sequence[Callable[[], object]]) -> None:
        # A loop that is closed has nobody left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call_each, calls)

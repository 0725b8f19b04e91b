"""The ledger as a worker reaches it: by an intake of its own, which is opened after the fork and again after a failure.

While the database is away, what needs it is refused with StoreUnavailable; everything else goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from time import time
from typing import Any, Literal, Protocol

from entrepot.chassis.absence import Absence
from entrepot.chassis.errors import Error
from entrepot.chassis.space import free_bytes
from entrepot.connectors.faults import unsent
from entrepot.errors import StoreUnavailable
from entrepot.ledger.entries import Acceptance, Admission, AnswerOf, Filters, Finished, LeaseOf, MemoryOf, Sight

log = logging.getLogger(__name__)

RETRY_S = 1.0
LOOK_S = 1.0
"""How often the free space is looked at."""

Cancelled = Literal["done", "gone", "sent"]


class Intake(Protocol):
    """What the gateway asks of the ledger. Each *done* is called on the loop, with the result or an Error."""

    def accept(self, item: Acceptance, done: Callable[[Admission | Error], object]) -> None:
        """Decide about *item*; what is accepted is on disk when *done* is called."""

    def keep_answer(self, item: AnswerOf, done: Callable[[Error | None], object]) -> None:
        """Keep the answer of a direct write for its key."""

    def keep_memory(self, item: MemoryOf, done: Callable[[Error | None], object]) -> None:
        """Keep what the connector noted before the first try of a direct write."""

    def let_go(self, item: LeaseOf, done: Callable[[Error | None], object]) -> None:
        """Let whoever repeats a direct write that has no answer to keep go on with it, or begin anew."""

    def finish(self, item: Finished, done: Callable[[bool | Error], object]) -> None:
        """Note how a write that was handed over has ended."""

    def cancel(self, id_: str, partner: str | None, done: Callable[[Cancelled | Error], object]) -> None:
        """Cancel the transaction *id_* of *partner* unless it may have been sent."""

    def read(self, id_: str, partner: str | None, done: Callable[[Sight | Error | None], object]) -> None:
        """Look at the transaction *id_* of *partner*."""

    def list(self, filters: Filters, done: Callable[[Sequence[Sight] | Error], object]) -> None:
        """List transactions."""

    def now(self) -> float:
        """Return the time that all go by who use the database."""

    def close(self) -> None:
        """Finish what was submitted, and let go of the database."""


OpenIntake = Callable[[], Intake]


class Ledger:
    """An intake that may be away. Lives on the loop's thread.

    *open_intake* opens the database, in a thread, and raises StoreUnavailable. With less than *min_free_bytes* left
    under *directory* nothing is accepted; cancelling and looking go on. ``applied`` of an error is ``no`` when nothing
    was stored for sure.
    """

    def __init__(
        self, open_intake: OpenIntake, loop: asyncio.AbstractEventLoop, *, directory: Path, min_free_bytes: int
    ) -> None:
        self._open_intake = open_intake
        self._loop = loop
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._intake: Intake | None = None
        self._opening: asyncio.Future[Intake] | None = None
        self._waiting: list[tuple[Callable[[Intake], None], Callable[[Error], object]]] = []
        self._retry_at = self._look_at = 0.0
        self._is_full = False
        self._absence = Absence(log, "the database is away, nothing can be accepted", "the database is back")

    @property
    def is_away(self) -> bool:
        """Whether the database could not be opened when that was last tried."""
        return self._absence.is_noted

    @property
    def is_full(self) -> bool:
        """Whether there was less free space under the store than ``min_free`` when that was last looked at."""
        return self._is_full

    def sweep(self, now: float) -> None:
        """Open the database if it is not open, and look at the free space; called a few times a second."""
        if self._intake is None and self._opening is None and now >= self._retry_at:
            self._retry_at = now + RETRY_S
            self._opening = self._loop.run_in_executor(None, self._open_intake)
            self._opening.add_done_callback(self._opened)
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._is_full = self._min_free_bytes > 0 and free_bytes(self._directory) < self._min_free_bytes

    def accept(self, item: Acceptance, done: Callable[[Admission | Error], object]) -> None:
        """Decide about *item*; what is accepted is on disk when *done* is called."""
        if self._is_full:
            why = StoreUnavailable("there is not enough free space to accept anything", retry_after_s=60.0)
            self._loop.call_soon(done, unsent(why))
        else:
            self._ask(lambda intake: intake.accept(item, done), done)

    def keep_answer(self, item: AnswerOf, done: Callable[[Error | None], object]) -> None:
        """Keep the answer of a direct write for its key."""
        self._ask(lambda intake: intake.keep_answer(item, done), done)

    def keep_memory(self, item: MemoryOf, done: Callable[[Error | None], object]) -> None:
        """Keep what the connector noted before the first try of a direct write."""
        self._ask(lambda intake: intake.keep_memory(item, done), done)

    def let_go(self, item: LeaseOf, done: Callable[[Error | None], object]) -> None:
        """Let whoever repeats a direct write that has no answer to keep go on with it, or begin anew."""
        self._ask(lambda intake: intake.let_go(item, done), done)

    def finish(self, item: Finished, done: Callable[[bool | Error], object]) -> None:
        """Note how a write that was handed over has ended."""
        self._ask(lambda intake: intake.finish(item, done), done)

    def cancel(self, id_: str, partner: str, done: Callable[[Cancelled | Error], object]) -> None:
        """Cancel the transaction *id_* of *partner* unless it may have been sent."""
        self._ask(lambda intake: intake.cancel(id_, partner, done), done)

    def read(self, id_: str, partner: str, done: Callable[[Sight | Error | None], object]) -> None:
        """Look at the transaction *id_* of *partner*."""
        self._ask(lambda intake: intake.read(id_, partner, done), done)

    def list(self, filters: Filters, done: Callable[[Sequence[Sight] | Error], object]) -> None:
        """List transactions."""
        self._ask(lambda intake: intake.list(filters, done), done)

    def now(self) -> float:
        """Return the time that all go by who use the database; this host's as long as it was never there."""
        return time() if self._intake is None else self._intake.now()

    def close(self) -> None:
        """Finish what was submitted, and let go of the database."""
        if self._intake is not None:
            self._intake.close()

    def _ask(self, ask: Callable[[Intake], None], done: Callable[[Any], object]) -> None:
        """Let *ask* have the intake, as soon as it is open when it is being opened."""
        if self._intake is not None:
            try:
                ask(self._intake)
            except StoreUnavailable as error:
                self._loop.call_soon(done, error)
        elif self._opening is not None:
            self._waiting.append((ask, done))
        else:
            self._loop.call_soon(done, unsent(StoreUnavailable("the database is away", retry_after_s=5.0)))

    def _opened(self, opening: asyncio.Future[Intake]) -> None:
        self._opening = None
        waiting, self._waiting = self._waiting, []
        try:
            self._intake = opening.result()
            self._absence.end()
        except StoreUnavailable as error:
            self._absence.note(error)
        except Exception as exc:  # without a database a worker serves reads and direct writes
            if not self._absence.is_noted:
                log.exception("the database cannot be opened, nothing can be accepted")
            self._absence.note(repr(exc))
        for ask, done in waiting:
            self._ask(ask, done)


def no_intake() -> Intake:
    """Refuse to open a database: there is none."""
    raise StoreUnavailable("there is no database")

"""Where operators look into the ledger and change it: in steps that let others write, told to couriers and logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Connection

from entrepot.chassis.shared import Counter
from entrepot.ledger import operate, reading
from entrepot.ledger.contents import Contents, contents
from entrepot.ledger.drain import Outlook, outlook
from entrepot.ledger.entries import Filters, Hold, Sight
from entrepot.ledger.pauses import ALL
from entrepot.ledger.states import State
from entrepot.store.engine import Database

log = logging.getLogger(__name__)

STEP = 200
"""How many transactions are changed at once: partners' writes wait for that long."""

Change = Literal["replay", "cancel", "skip"]
ALLOWED: dict[Change, tuple[State, ...]] = {
    "replay": ("dead", "held"),
    "cancel": ("queued", "waiting", "held", "dead"),
    "skip": ("dead", "held"),
}
"""In which states a transaction may be changed so."""


@dataclass(frozen=True, slots=True)
class LedgerDesk:
    """The ledger in *database*. *counter* tells the couriers that there is something to do."""

    database: Database
    counter: Counter
    clock: Callable[[], float] = time.time

    def one(self, id_: str) -> tuple[Sight, Contents] | None:
        """Return the transaction *id_* and what was sent with it, None when there is none."""
        with self.database.reading() as session:
            connection = session.connection()
            sight, sent = reading.one(connection, id_, None), contents(connection, id_)
        return None if sight is None or sent is None else (sight, sent)

    def pages(self, filters: Filters) -> Iterator[list[Sight]]:
        """Yield what fits *filters* in pages of their limit. Between two of them the ledger may change."""
        while True:
            with self.database.reading() as session:
                page = list(reading.listing(session.connection(), filters))
            if page:
                yield page
            if len(page) < filters.limit:
                return
            filters = replace(filters, after=page[-1].id)

    def outlook(self, upstreams: Sequence[str] = ()) -> Outlook:
        """Return what waits at each upstream, also at those of *upstreams* where nothing does."""
        with self.database.reading() as session:
            return outlook(session.connection(), self.clock(), upstreams)

    def waiting_of_clients(self) -> dict[str, int]:
        """Return how many transactions of each client are accepted and not finished, of those that have some."""
        with self.database.reading() as session:
            return reading.waiting_of_clients(session.connection())

    def change(self, change: Change, ids: Sequence[str], *, by: str) -> list[str]:
        """Make *change* to the transactions *ids*, all at once, and return the ids of those that allowed it."""
        now = self.clock()
        with self.database.writing() as connection:
            done = [id_ for id_ in ids if _change(connection, change, id_, now)]
        self._tell("transactions changed", change=change, number=len(done), by=by)
        return done

    def erase(self, *, partner: str | None, match: tuple[str, str] | None, by: str) -> Iterator[int]:
        """Erase of what is finished what is *partner*'s and fits *match*; yield after each step how many that were."""
        eraser, count = operate.Eraser(partner, match), 0
        try:
            while not eraser.is_done:
                with self.database.writing() as connection:
                    erased = eraser.step(connection, self.clock(), STEP)
                count += erased
                yield erased
        finally:
            self._tell("transactions erased", number=count, by=by)

    def maintenance(self) -> Hold | None:
        """Return what holds all deliveries back, if they are."""
        with self.database.reading() as session:
            return outlook(session.connection(), self.clock()).maintenance

    def begin_maintenance(self, until: float | None, *, by: str) -> None:
        """Hold all deliveries back until *until*; None: until it is ended."""
        with self.database.writing() as connection:
            operate.hold(connection, ALL, "maintenance", f"by {by}", until, self.clock())
        self._tell("maintenance begun", until=until, by=by)

    def end_maintenance(self, *, by: str) -> bool:
        """Let everything be delivered again; return whether it was held back."""
        was_held = self.maintenance() is not None
        with self.database.writing() as connection:
            operate.release(connection, ALL, self.clock())
        self._tell("maintenance ended", by=by)
        return was_held

    def _tell(self, what: str, **facts: object) -> None:
        self.counter.bump()
        log.info(what, extra=facts)


def _change(connection: Connection, change: Change, id_: str, now: float) -> bool:
    if change == "replay":
        return operate.replay(connection, [id_], now) == 1
    if change == "skip":
        return operate.skip(connection, [id_], now) == 1
    return operate.cancel(connection, id_, None, now) == "done"

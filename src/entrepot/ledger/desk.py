"""Where operators look into the ledger and change it: in steps that let others write, told to couriers and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Connection, func, select

from entrepot.chassis.shared import Counter
from entrepot.ledger import operate, reading
from entrepot.ledger.contents import Contents, contents
from entrepot.ledger.drain import Outlook, outlook
from entrepot.ledger.entries import Filters, Hold, Sight, Waiting
from entrepot.ledger.pauses import ALL
from entrepot.ledger.retention import Retention, prune
from entrepot.ledger.states import CANCELLABLE, STOPPED, State
from entrepot.store import audit
from entrepot.store.audit import Actor
from entrepot.store.backend import Clock
from entrepot.store.engine import Database
from entrepot.store.ledger import transactions

log = logging.getLogger(__name__)

STEP = 200
"""How many transactions are changed at once: partners' writes wait for that long."""

Change = Literal["replay", "cancel", "skip"]
ALLOWED: dict[Change, tuple[State, ...]] = {
    "replay": STOPPED,
    "cancel": CANCELLABLE,
    "skip": STOPPED,
}
"""In which states a transaction may be changed so."""

_t = transactions.c


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of a step of erasing: how many were erased, and how many fit and were *left*: they are not finished."""

    count: int
    left: int


@dataclass(frozen=True, slots=True)
class LedgerDesk:
    """The ledger in *database*, with its *clock*. *counter* tells the couriers that there is something to do."""

    database: Database
    counter: Counter
    clock: Clock

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

    def waiting(self) -> list[Waiting]:
        """Return how much is accepted and not finished, by client, endpoint and upstream."""
        with self.database.reading() as session:
            return reading.waiting(session.connection())

    def change(self, change: Change, ids: Sequence[str], *, actor: Actor) -> list[str]:
        """Make *change* to the transactions *ids*, all at once, and return the ids of those that allowed it."""
        now = self.clock()
        with self.database.writing() as connection:
            before = _states(connection, ids)
            done = [id_ for id_ in ids if _change(connection, change, id_, now)]
            after = _states(connection, done)
            entries = (audit.Change(change, "transaction", id_, before[id_], after[id_]) for id_ in done)
            audit.append_all(connection, actor, entries)
        self._tell("transactions changed", change=change, number=len(done), by=actor.name)
        return done

    def erase(self, *, partner: str | None, match: tuple[str, str] | None, actor: Actor) -> Iterator[Erased]:
        """Erase of what is finished what is *partner*'s and fits *match*; yield after each step what came of it.

        See ``retention.Eraser``.
        """
        eraser, count, seen = operate.Eraser(partner, match), 0, 0
        try:
            while not eraser.is_done:
                with self.database.writing() as connection:
                    erased = eraser.step(connection, STEP)
                    if erased:
                        audit.append(connection, actor, _erasure(partner, match, erased))
                count += erased
                left, seen = eraser.left - seen, eraser.left
                yield Erased(erased, left)
        finally:
            self.database.forget_log()
            self._tell("transactions erased", number=count, by=actor.name)

    def prune(self, policy: Retention) -> int:
        """Forget what need not be kept by *policy*, and return how much that was."""
        return self._in_steps(lambda connection: prune(connection, policy, self.clock(), STEP))

    def hold_client(self, client: str) -> int:
        """Hold what waits of *client*, which is disabled, and what it may bring yet; return how much was held.

        Whoever lets it go meanwhile may come before the end of this: look afterwards whether it is disabled still.
        """
        with self.database.writing() as connection:
            operate.begin_hold(connection, client, self.clock(), disabled=True)
        return self._in_steps(lambda connection: operate.hold_client(connection, client, self.clock(), disabled=True))

    def release_client(self, client: str, *, is_known: bool) -> int:
        """Let go what was held because *client* was disabled, and return how much that was.

        When the catalog does not have the client, it is held for that from now on.
        """
        if not is_known:
            with self.database.writing() as connection:
                operate.begin_hold(connection, client, self.clock(), disabled=False)
            return 0
        return self._in_steps(
            lambda connection: operate.release_client(connection, client, self.clock(), disabled=True)
        )

    def disabled_clients(self) -> list[str]:
        """Return the clients whose work is held because somebody disabled them."""
        with self.database.reading() as session:
            return operate.disabled_clients(session.connection())

    def waiting_clients(self, partner: str) -> list[str]:
        """Return the clients that brought what waits of *partner*."""
        with self.database.reading() as session:
            return operate.waiting_clients(session.connection(), partner)

    def _in_steps(self, step: Callable[[Connection], int]) -> int:
        total = 0
        while True:
            with self.database.writing() as connection:
                count = step(connection)
            total += count
            if not count:
                self.counter.bump()
                return total

    def maintenance(self) -> Hold | None:
        """Return what holds all deliveries back, if they are."""
        with self.database.reading() as session:
            return outlook(session.connection(), self.clock()).maintenance

    def in_flight(self) -> int:
        """Return how many transactions couriers are at work on, whatever holds deliveries back by now."""
        with self.database.reading() as session:
            return session.scalar(select(func.count()).where(_t.leased_until.is_not(None))) or 0

    def begin_maintenance(self, until: float | None, *, actor: Actor) -> None:
        """Hold all deliveries back until *until*; None: until it is ended."""
        with self.database.writing() as connection:
            before = _maintenance(connection, self.clock())
            operate.hold(connection, ALL, "maintenance", f"by {actor.name}", until, self.clock())
            after = _maintenance(connection, self.clock())
            audit.append(connection, actor, audit.Change("begin", "maintenance", "", before, after))
        self._tell("maintenance begun", until=until, by=actor.name)

    def end_maintenance(self, *, actor: Actor) -> bool:
        """Let everything be delivered again; return whether it was held back."""
        with self.database.writing() as connection:
            before = _maintenance(connection, self.clock())
            operate.release(connection, ALL, self.clock())
            if before is not None:
                audit.append(connection, actor, audit.Change("end", "maintenance", "", before))
        self._tell("maintenance ended", by=actor.name)
        return before is not None

    def _tell(self, what: str, **facts: object) -> None:
        self.counter.bump()
        log.info(what, extra=facts)


def _states(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found = connection.execute(select(_t.id, _t.state).where(_t.id.in_(ids)))
    return {row.id: {"state": row.state} for row in found}


def _erasure(partner: str | None, match: tuple[str, str] | None, number: int) -> audit.Change:
    # The name of the field alone: its value is what was to be erased.
    after = {"partner": partner, "field": match[0] if match else None, "number": number}
    return audit.Change("erase", "transaction", "", after=after)


def _maintenance(connection: Connection, now: float) -> dict[str, object] | None:
    for hold in operate.holds(connection):
        if hold.upstream == ALL and not hold.is_over(now):
            return {"since": hold.since, "until": hold.until, "detail": hold.detail}
    return None


def _change(connection: Connection, change: Change, id_: str, now: float) -> bool:
    if change == "replay":
        return operate.replay(connection, [id_], now) == 1
    if change == "skip":
        return operate.skip(connection, [id_], now) == 1
    return operate.cancel(connection, id_, None, now) == "done"

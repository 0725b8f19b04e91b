"""How fast the backlog of each upstream is delivered, and when it will be empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from entrepot.ledger.entries import Hold
from entrepot.ledger.operate import holds
from entrepot.ledger.pauses import ALL
from entrepot.ledger.reading import backlog, partners
from entrepot.ledger.states import DEAD, DELIVERED
from entrepot.store.ledger import transactions

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Drain:
    """What waits at one upstream: *unfinished* and *bytes* altogether, *oldest* is when the first was accepted.

    *rate* is what was delivered a second, over the last minute. *dead* ones wait for an operator. *hold* says why
    nothing is delivered, if that is so; maintenance holds every upstream. *is_away*: this host leaves it alone, because
    it has failed.
    """

    upstream: str
    unfinished: int
    bytes: int
    oldest: float | None
    rate: float
    dead: int
    hold: Hold | None = None
    is_away: bool = False

    @property
    def eta_s(self) -> float | None:
        """The seconds until nothing waits if it goes on like this; None when it does not go on."""
        if not self.unfinished:
            return 0.0
        if self.hold is not None or self.is_away or not self.rate:
            return None
        return self.unfinished / self.rate


@dataclass(frozen=True, slots=True)
class Outlook:
    """The backlog of all upstreams at the moment *at*, each with its *drain*; *maintenance* holds all of them."""

    at: float
    drains: tuple[Drain, ...]
    maintenance: Hold | None

    @property
    def unfinished(self) -> int:
        """The transactions that were accepted and are not finished."""
        return sum(drain.unfinished for drain in self.drains)

    @property
    def oldest(self) -> float | None:
        """When the first of them was accepted."""
        return min((drain.oldest for drain in self.drains if drain.oldest is not None), default=None)

    @property
    def rate(self) -> float:
        """What was delivered a second, over the last minute."""
        return sum(drain.rate for drain in self.drains)

    @property
    def dead(self) -> int:
        """The transactions that were given up, and wait for an operator."""
        return sum(drain.dead for drain in self.drains)

    @property
    def eta_s(self) -> float | None:
        """The seconds until nothing waits at any upstream; None when one of them does not get on."""
        each = [drain.eta_s for drain in self.drains]
        known = [eta_s for eta_s in each if eta_s is not None]
        return max(known, default=0.0) if len(known) == len(each) else None


def outlook(connection: Connection, now: float, known: Sequence[str] = ()) -> Outlook:
    """Return the backlog of every upstream that has one, was served within the last minute, is held, or is *known*."""
    waiting = {each.upstream: each for each in backlog(connection)}
    held = {each.upstream: each for each in holds(connection) if each.client is None and not each.is_over(now)}
    delivered, dead = _delivered(connection, now - WINDOW_S), _dead(connection)
    maintenance = held.pop(ALL, None)
    drains = []
    for upstream in sorted({*waiting, *held, *delivered, *dead, *known}):
        here = waiting.get(upstream)
        drains.append(
            Drain(
                upstream,
                unfinished=here.unfinished if here else 0,
                bytes=here.bytes if here else 0,
                oldest=here.oldest if here else None,
                rate=delivered.get(upstream, 0) / WINDOW_S,
                dead=dead.get(upstream, 0),
                hold=held.get(upstream, maintenance),
            )
        )
    return Outlook(now, tuple(drains), maintenance)


def _delivered(connection: Connection, since: float) -> dict[str, int]:
    found = connection.execute(
        select(transactions.c.upstream, func.count())
        .where(transactions.c.finished_at > since, transactions.c.state == DELIVERED)
        .group_by(transactions.c.upstream)
    )
    return {row[0]: row[1] for row in found}


def _dead(connection: Connection) -> dict[str, int]:
    # Partner by partner, as the index goes: what is dead is read, and not the million that was delivered.
    found: Counter[str] = Counter()
    for partner in partners(connection):
        of_partner = (
            select(transactions.c.upstream, func.count())
            .where(transactions.c.partner == partner, transactions.c.state == DEAD)
            .group_by(transactions.c.upstream)
        )
        found.update({row[0]: row[1] for row in connection.execute(of_partner)})
    return found

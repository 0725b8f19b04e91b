"""Let work that waits for another try have it at once, when its upstream is back."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, or_, select

from entrepot.ledger.revival import STEP
from entrepot.ledger.statements import ListStatement, param
from entrepot.ledger.states import WAITING
from entrepot.store.ledger import queues, transactions

_t = transactions.c
_HASTEN = ListStatement(
    _t.seq,
    lambda k: transactions.update().where(_t.seq.in_(select(k.c.v))).values(due_at=param("now", _t.due_at)),
    "now",
)


def hasten(connection: Connection, items: Sequence[str], now: float, limit: int = STEP) -> list[int]:
    """Make due now *limit* of what waits to be tried again at each upstream of *items*; return how much, 0 when all is.

    What the upstream may still be at work on waits as before.
    """
    return [_hasten(connection, upstream, now, limit) for upstream in items]


def _hasten(connection: Connection, upstream: str, now: float, limit: int) -> int:
    # Partner by partner, so that the index finds what is due later, and not all that is due.
    partners = select(queues.c.partner).where(queues.c.upstream == upstream, queues.c.unfinished > 0)
    is_free = or_(_t.rests_until.is_(None), _t.rests_until <= now)
    waiting = and_(_t.state == WAITING, _t.due_at > now, is_free)
    wanted = select(_t.seq).where(_t.upstream == upstream, _t.partner.in_(partners), waiting)
    found = connection.scalars(wanted.limit(limit).with_for_update()).all()
    _HASTEN.run(connection, found, now)
    return len(found)

"""Let work go again that was held: those that are first of their ordering keys, and the others after them."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, case, null, select

from entrepot.ledger.settle import promote
from entrepot.ledger.statements import ListStatement, due_from, param
from entrepot.ledger.states import HELD, QUEUED, WAITING
from entrepot.store.ledger import queues, transactions

_t = transactions.c

STEP = 200
"""How much is held, let go or made due at once: partners' writes wait for that long, some ten milliseconds."""

AGAIN = {
    "state": case((_t.applied == "unknown", WAITING), else_=QUEUED),
    "reason": null(),
    # What has an ordering key goes when it is the first of it: promote says so.
    "due_at": case((_t.order_key.is_(None), due_from(param("now", _t.due_at))), else_=null()),
}
"""What changes in a row that goes again at ``now``."""

_LET_GO = ListStatement(_t.seq, lambda k: transactions.update().where(_t.seq.in_(select(k.c.v))).values(**AGAIN), "now")


def of_waiting_partners() -> ColumnElement[bool]:
    """Return the condition by which the index finds unfinished work, whosever it is."""
    return _t.partner.in_(select(queues.c.partner).where(queues.c.unfinished > 0))


def let_go(connection: Connection, which: ColumnElement[bool], now: float, limit: int = STEP) -> int:
    """Let what is held and fits *which* go again, of each partner the oldest first; return how many may.

    That is *limit* at most. The index has them in this order: to sort all that is held takes longer than a step may.
    """
    wanted = select(_t.seq, _t.order_key).where(of_waiting_partners(), _t.state == HELD, which)
    rows = connection.execute(wanted.order_by(_t.partner, _t.seq).limit(limit).with_for_update()).all()
    _LET_GO.run(connection, (row.seq for row in rows), now)
    promote(connection, (row.order_key for row in rows if row.order_key is not None), now)
    return len(rows)

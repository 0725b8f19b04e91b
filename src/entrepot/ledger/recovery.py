"""Let work that waits for another try have it at once, when its upstream is back."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, select

from entrepot.store.ledger import queues, transactions


def hasten(connection: Connection, items: Sequence[str], now: float) -> list[int]:
    """Make due now what waits to be tried again at each upstream of *items*; return how much that is for each.

    What the upstream may still be at work on waits as before: calls and updates of unknown outcome.
    """
    return [_hasten(connection, upstream, now) for upstream in items]


def _hasten(connection: Connection, upstream: str, now: float) -> int:
    t = transactions.c
    # Partner by partner, so that the index finds what is due later, and not all that is due.
    partners = select(queues.c.partner).where(queues.c.upstream == upstream, queues.c.unfinished > 0)
    at_rest = and_(t.applied == "unknown", t.kind.in_(("call", "update")))
    waiting = and_(t.state == "waiting", t.due_at > now, ~at_rest)
    changed = connection.execute(
        transactions.update()
        .where(t.upstream == upstream, t.partner.in_(partners), waiting)
        .values(due_at=now)
        .execution_options(synchronize_session=False)
    )
    return int(changed.rowcount)
